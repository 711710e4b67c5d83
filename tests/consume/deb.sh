#!/usr/bin/env bash
# deb.sh DIST: builds the Debian package into DIST and tries it as it is
# installed, in a folder: the command runs, and a program finds Quanto::core.
set -euo pipefail

if ! command -v dpkg-shlibdeps >/dev/null; then
  echo "deb.sh: expected dpkg-shlibdeps (Debian: dpkg-dev), got none" >&2
  exit 1
fi
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
dist=$(realpath "$1")
build=$root/build/deb
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_INSTALL_PREFIX=/usr -DQUANTO_BUILD_OPS=OFF >/dev/null
cmake --build "$build"
rm -f "$dist"/quanto_*.deb
(cd "$build" && cpack -G DEB -B "$dist" >/dev/null)
rm -rf "$dist/_CPack_Packages"
deb=$(echo "$dist"/quanto_*.deb)

expect() { # expect WHAT COMMAND...
  local what=$1
  shift
  "$@" || {
    echo "deb.sh: expected $what" >&2
    exit 1
  }
}

dpkg-deb -x "$deb" "$work/root"
depends=$(dpkg-deb -f "$deb" Depends)
for library in libc6 libstdc++6; do
  expect "$library in Depends, got '$depends'" grep -qF "$library" <<<"$depends"
done
multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || gcc -print-multiarch)
for file in bin/quanto share/man/man1/quanto.1.gz \
  share/bash-completion/completions/quanto share/doc/quanto/copyright \
  share/doc/quanto/changelog.gz include/quanto/formats/weight.h \
  "lib/$multiarch/libquanto_kernels.a" \
  "lib/$multiarch/cmake/Quanto/QuantoConfig.cmake"; do
  expect "/usr/$file in the package" test -f "$work/root/usr/$file"
done
expect "no path of the build in the command" \
  bash -c '! grep -qF "$1" "$2"' _ "$root" "$work/root/usr/bin/quanto"

"$work/root/usr/bin/quanto" --version
cmake -S "$root/tests/consume/core" -B "$work/consumer" -G Ninja \
  -DCMAKE_PREFIX_PATH="$work/root/usr" >/dev/null
cmake --build "$work/consumer" >/dev/null
"$work/consumer/consumer" "$work/weight.safetensors"
if command -v lintian >/dev/null; then
  lintian --fail-on error "$deb"
fi
echo "$(basename "$deb"): unpacked, ran, and found by a program"
