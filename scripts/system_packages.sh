#!/usr/bin/env bash
# Makes sure that Debian's headers the build needs are there, and pkg-config,
# which finds RE2: installs what is missing when it may (as root, or with sudo
# that asks nothing), else prints the one line to run and fails.
#
#   system_packages.sh           for the build
#   system_packages.sh aarch64   and to cross-compile it and run it emulated
set -euo pipefail

packages=(libfmt-dev libgtest-dev libbenchmark-dev nlohmann-json3-dev
  libcli11-dev libre2-dev libxxhash-dev zlib1g-dev)
headers=(fmt/format.h gtest/gtest.h benchmark/benchmark.h nlohmann/json.hpp
  CLI/CLI.hpp re2/re2.h xxhash.h zlib.h)

missing=()
for i in "${!packages[@]}"; do
  if ! echo "#include <${headers[$i]}>" |
    g++ -std=c++20 -E -x c++ - >/dev/null 2>&1; then
    missing+=("${packages[$i]}")
  fi
done
command -v pkg-config >/dev/null || missing+=(pkgconf)
if [ "${1:-}" = aarch64 ]; then
  command -v aarch64-linux-gnu-g++ >/dev/null || missing+=(g++-aarch64-linux-gnu)
  command -v qemu-aarch64 >/dev/null || missing+=(qemu-user)
fi
[ ${#missing[@]} -eq 0 ] && exit 0

install="apt-get install -y --no-install-recommends ${missing[*]}"
if ! command -v apt-get >/dev/null; then
  echo "quanto: expected ${missing[*]} (Debian's names);" \
    "install them and run make again" >&2
  exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
  run=()
elif sudo -n true 2>/dev/null; then
  run=(sudo -n)
else
  echo "quanto: missing packages; run: sudo $install" >&2
  exit 1
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# The package list of a fresh machine is empty or old.
"${run[@]}" $install >/dev/null 2>&1 ||
  { "${run[@]}" apt-get update -qq && "${run[@]}" $install >/dev/null; }
