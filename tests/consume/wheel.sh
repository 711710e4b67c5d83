#!/usr/bin/env bash
# wheel.sh WHEEL TORCH: tries a wheel as a user gets it: a fresh virtual
# environment, no compiler on the path, the first example of the README.
set -euo pipefail

wheel=$(realpath "$1")
torch=$2
root=$(cd "$(dirname "$0")/../.." && pwd)

case $(basename "$wheel") in
quanto-*-py3-none-linux_*.whl) ;;
*)
  echo "wheel.sh: expected a py3-none-linux wheel, got $(basename "$wheel")" >&2
  exit 1
  ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
site=()
[ "$torch" = installed ] && site=(--system-site-packages)
"${PYTHON:-python3}" -m venv "${site[@]}" "$work/venv"
"$work/venv/bin/python" -m pip install -q --upgrade pip
[ "$torch" = installed ] || "$work/venv/bin/python" -m pip install -q "$torch"
"$work/venv/bin/python" -m pip install -q "$wheel"

cd "$work"
"$work/venv/bin/python" "$root/tests/consume/check_symbols.py"
# Only the interpreter is on the path: nothing can be compiled.
mkdir bin
PATH=$work/bin "$work/venv/bin/python" \
  "$root/tests/consume/run_readme_example.py" "$root/README.md"
"$work/venv/bin/quanto" --version
for file in man/man1/quanto.1 bash-completion/completions/quanto; do
  [ -s "$work/venv/share/$file" ] || {
    echo "wheel.sh: expected share/$file in the environment, got none" >&2
    exit 1
  }
done
echo "$(basename "$wheel"): installed and ran without a compiler"
