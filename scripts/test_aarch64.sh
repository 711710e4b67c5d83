#!/usr/bin/env bash
# Cross-compiles the core and the kernels for aarch64 and runs their tests under
# qemu-user: some of the cases, in about three minutes on two cores with the
# compiling, or all of them (most of an hour). Skips with one line where the tools
# are missing and cannot be installed.
#
#   test_aarch64.sh [--all]
set -euo pipefail

[[ $# -eq 0 || "$*" = --all ]] || { echo "usage: $0 [--all]" >&2; exit 2; }
scripts/system_packages.sh aarch64 || {
  echo "aarch64: skipped, no g++-aarch64-linux-gnu or no qemu-user (Debian's names)"
  exit 0
}

build=build/test-aarch64
jobs=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
# -O1: -O3 takes several times as long to compile, and nothing here is timed.
cmake --log-level=ERROR -Wno-deprecated -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_CXX_FLAGS_RELEASE="-O1 -DNDEBUG" \
  -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/aarch64-linux-gnu.cmake" \
  -DQUANTO_BUILD_TESTS=ON -DQUANTO_BUILD_OPS=OFF -DQUANTO_BUILD_CLI=OFF \
  -DQUANTO_INSTALL=OFF >/dev/null
cmake --build "$build" --target cpp/quanto/core/all cpp/quanto/kernels/all

run() { ctest --test-dir "$build" --output-on-failure -j "$jobs" "$@"; }
echo "aarch64: all instruction sets run emulated, by $(qemu-aarch64 --version | head -n 1)"
if [ "${1:-}" = --all ]; then
  run -R '^(core|kernels)\.'
  exit
fi

# The reference is tested where it runs fast. The ways of neon_dotprod are among
# those of neon_i8mm, as dispatch_test says.
isa='\.(neon|neon_i8mm)$'
# Of the tests with many cases one in 29: in step with none of the ways in which
# they are enumerated.
many="^kernels\.cpu\.(quantize|dequantize|linear)_test$isa"
run -R "^core\.|^kernels\.ref\.|dispatch_test|no_weak_symbols|^kernels\.cpu\..*$isa" -E "$many"
GTEST_TOTAL_SHARDS=29 GTEST_SHARD_INDEX=0 run -R "$many"
