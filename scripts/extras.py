"""Print the requirements of pyproject.toml's extras, one a line: extras.py demo dev."""

import re
import sys
from pathlib import Path

# tomllib is there from Python 3.11 on; pip brings its own copy for older ones.
try:
    import tomllib
except ModuleNotFoundError:
    from pip._vendor import tomli as tomllib

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
requirements = list(project["dependencies"])
for extra in sys.argv[1:]:
    requirements += project["optional-dependencies"][extra]
# torch is chosen by the Makefile.
print("\n".join(r for r in dict.fromkeys(requirements) if re.split(r"\W", r)[0] != "torch"))
