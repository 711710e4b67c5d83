"""The installed libquanto.so uses torch's stable C interface and nothing else of torch.

Prints what it found; exits with 1 and one line when the library needs a C++ symbol of libtorch or
a shared library it should not need.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

# The C++ namespaces of libtorch, as they appear in mangled names (lengths included).
TORCH_CXX = re.compile(r"_Z.*(2at|3c10|5torch)")
ALLOWED = ("libtorch_cpu.so", "libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6")


def tool(*command: str) -> list[str]:
    """Lines of a binutils command."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def problems(library: Path) -> list[str]:
    """One line for each thing that ties the library to one torch or one Python."""
    undefined = [line.split()[-1] for line in tool("nm", "-D", "--undefined-only", str(library))]
    found = [
        f"needs the C++ symbol {name} of libtorch" for name in undefined if TORCH_CXX.match(name)
    ]
    found += [
        f"needs the symbol {name} of Python" for name in undefined if re.match("_?Py[A-Z_]", name)
    ]
    needed = [
        match[1]
        for line in tool("readelf", "-d", str(library))
        if (match := re.search(r"\(NEEDED\).*\[(.+)\]", line))
    ]
    found += [f"needs {name}" for name in needed if name not in ALLOWED and "ld-linux" not in name]
    if any(
        "(RPATH)" in line or "(RUNPATH)" in line for line in tool("readelf", "-d", str(library))
    ):
        found.append("carries a run path of the machine that built it")
    return found


if __name__ == "__main__":
    spec = importlib.util.find_spec("quanto")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("check_symbols: expected quanto to be installed, got no such package")
    library = Path(spec.submodule_search_locations[0]) / "lib" / "libquanto.so"
    if found := problems(library):
        sys.exit(f"{library.name}: " + "; ".join(found))
    print(f"{library.name}: no C++ symbol of libtorch, none of Python")
