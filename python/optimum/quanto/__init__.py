"""The name of the predecessor: `optimum.quanto` and its submodules are those of `quanto`.

There is no `optimum/__init__.py`: other distributions own parts of that namespace.
"""

import sys

from quanto import *  # noqa: F403
from quanto import __version__ as __version__

for _name, _module in list(sys.modules.items()):
    if _name == "quanto" or _name.startswith("quanto."):
        sys.modules[f"optimum.{_name}"] = _module
