# SPDX-License-Identifier: Apache-2.0
"""Results of an earlier run, for a command's `--json`."""

import argparse
import json
from pathlib import Path
from typing import Any


def earlier_results(path: str) -> dict[str, Any]:
    """An argparse type: what a run wrote to `path`."""
    try:
        results: dict[str, Any] = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise argparse.ArgumentTypeError(
            f"{path}: expected the results of an earlier run, got: {reason}"
        ) from None
    return results
