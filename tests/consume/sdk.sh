#!/usr/bin/env bash
# sdk.sh BUILD: tries the SDK as a user gets it: the package of a build with
# QUANTO_BUILD_NN installed to a folder of its own, the two projects of
# examples/cpp copied out of the tree and built against it (one finds its
# component nn, one ops alone), and their programs run beside Python.
set -euo pipefail

build=$(realpath "$1")
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for component in core ops nn; do
  cmake --install "$build" --prefix "$work/prefix" --component "$component" \
    >/dev/null
done
cp -r "$root/examples/cpp" "$work/examples"

# The temporary folder is left out of what ccache compares.
export CCACHE_BASEDIR=$work CCACHE_NOHASHDIR=1
torch=$("$python" -c "import torch; print(torch.utils.cmake_prefix_path)")
for project in . deploy; do
  cmake -S "$work/examples/$project" -B "$work/build/$project" -G Ninja \
    -DCMAKE_PREFIX_PATH="$work/prefix;$torch" >"$work/configure.log" 2>&1 ||
    { cat "$work/configure.log" >&2 && exit 1; }
  cmake --build "$work/build/$project"
done

export QUANTO_EXAMPLES=$work/build
export QUANTO_CLI=${QUANTO_CLI:-$build/cpp/quanto/cli/quanto}
cd "$work"
PYTHONPATH=$root/tests/python:$root${PYTHONPATH:+:$PYTHONPATH} \
  "$python" -m pytest -q -p no:cacheprovider --rootdir "$root" \
  "$root/tests/consume/test_sdk.py" \
  "$root/tests/python/test_deploy.py::test_the_example"
