#!/usr/bin/env bash
# Cross-compiles the core and the kernels for aarch64 and runs their tests under
# qemu-user. Skips with one line where the tools are missing.
set -euo pipefail

for tool in aarch64-linux-gnu-g++ qemu-aarch64; do
  if ! command -v "$tool" >/dev/null; then
    echo "aarch64: skipped, no $tool (Debian: g++-aarch64-linux-gnu qemu-user)"
    exit 0
  fi
done

build=build/test-aarch64
jobs=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
# -O1: -O3 takes several times as long to compile, and nothing here is timed.
cmake --log-level=ERROR -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_CXX_FLAGS_RELEASE="-O1 -DNDEBUG" \
  -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/aarch64-linux-gnu.cmake" \
  -DQUANTO_BUILD_TESTS=ON -DQUANTO_BUILD_OPS=OFF -DQUANTO_BUILD_CLI=OFF \
  -DQUANTO_INSTALL=OFF
cmake --build "$build" --target cpp/quanto/core/all cpp/quanto/kernels/all

# All cases would take long, emulated: of the tests with many, every 13th case
# runs, which with 12 weights and 3 dtypes is each of them in turn.
many='^kernels\.cpu\.(quantize|dequantize|linear)_test'
echo "aarch64: all instruction sets run emulated, by $(qemu-aarch64 --version | head -n 1)"
ctest --test-dir "$build" --output-on-failure -j "$jobs" \
  -R '^(core|kernels)\.' -E "$many"
GTEST_TOTAL_SHARDS=13 GTEST_SHARD_INDEX=0 \
  ctest --test-dir "$build" --output-on-failure -j "$jobs" -R "$many"
