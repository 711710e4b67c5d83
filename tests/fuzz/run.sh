#!/usr/bin/env bash
# tests/fuzz/run.sh [RUNS]        each target RUNS times (default 1000000)
# tests/fuzz/run.sh --seconds N   N seconds of all targets together
#
# Builds every fuzz target with clang's ASan and UBSan in build/fuzz and runs it,
# starting from the corpus. What it finds is written beside the build: add it to
# the corpus.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=build/fuzz
targets=$(basename -s .cc tests/fuzz/*_fuzz.cc)
if [ "${1:-}" = --seconds ]; then
  limit=-max_total_time=$(($2 / $(wc -w <<<"$targets")))
else
  limit=-runs=${1:-1000000}
fi

if ! command -v "${CLANGXX:=clang++}" >/dev/null; then
  echo "fuzz: expected $CLANGXX (Debian: clang libclang-rt-dev), got none" >&2
  exit 1
fi
cmake -S . -B "$build" -G Ninja -DCMAKE_CXX_COMPILER="$CLANGXX" \
  -DCMAKE_BUILD_TYPE=RelWithDebInfo -DQUANTO_BUILD_OPS=OFF \
  -DQUANTO_BUILD_CLI=OFF -DQUANTO_BUILD_FUZZERS=ON >/dev/null
for target in $targets; do
  cmake --build "$build" --target "quanto_$target"
done
for target in $targets; do
  name=${target%_fuzz}
  found=$build/found/$name
  mkdir -p "$found"
  echo "fuzz: $name"
  "$build/tests/fuzz/quanto_$target" "$limit" -timeout=10 \
    -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 \
    -artifact_prefix="$found/" "$found" "tests/fuzz/corpus/$name" 2>&1 |
    grep -E "ERROR|SUMMARY|expected|number_of_executed|average_exec"
done
