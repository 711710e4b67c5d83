#!/usr/bin/env bash
# tests/fuzz/run.sh [RUNS]: builds every fuzz target with clang's ASan and UBSan
# in build/fuzz and runs each RUNS times (default 1000000), starting from the
# corpus. What it finds is written beside the build: add it to the corpus.
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${1:-1000000}
build=build/fuzz

if ! command -v "${CLANGXX:=clang++}" >/dev/null; then
  echo "fuzz: expected $CLANGXX (Debian: clang libclang-rt-dev), got none" >&2
  exit 1
fi
cmake -S . -B "$build" -G Ninja -DCMAKE_CXX_COMPILER="$CLANGXX" \
  -DCMAKE_BUILD_TYPE=RelWithDebInfo -DQUANTO_BUILD_OPS=OFF \
  -DQUANTO_BUILD_FUZZERS=ON >/dev/null
targets=$(basename -s .cc tests/fuzz/*_fuzz.cc)
for target in $targets; do
  cmake --build "$build" --target "quanto_$target"
done
for target in $targets; do
  name=${target%_fuzz}
  found=$build/found/$name
  mkdir -p "$found"
  echo "fuzz: $name"
  "$build/tests/fuzz/quanto_$target" -runs="$runs" -timeout=10 \
    -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 \
    -artifact_prefix="$found/" "$found" "tests/fuzz/corpus/$name" 2>&1 |
    grep -E "ERROR|SUMMARY|expected|number_of_executed|average_exec"
done
