# SPDX-License-Identifier: Apache-2.0
"""Results of an earlier run, for a command's `--json`."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def earlier_results(*keys: str) -> Callable[[str], dict[str, Any]]:
    """An argparse type: the file that a run wrote, an object with these keys."""

    def read(path: str) -> dict[str, Any]:
        expected = f"{path}: expected the results of an earlier run, got"
        try:
            results = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise argparse.ArgumentTypeError(f"{expected}: {reason}") from None
        missing = [key for key in keys if not isinstance(results, dict) or key not in results]
        if missing:
            raise argparse.ArgumentTypeError(f"{expected}: nothing at {', '.join(missing)}")
        return dict(results)

    return read
