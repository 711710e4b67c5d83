"""Run the first Python example of the README given as argument, as a user would paste it."""

import re
import sys
from pathlib import Path

match = re.search(r"```python\n(.*?)```", Path(sys.argv[1]).read_text(), re.DOTALL)
if match is None:
    sys.exit(f"{sys.argv[1]}: expected a Python example, got none")
exec(compile(match[1], "README example", "exec"), {"__name__": "__main__"})
