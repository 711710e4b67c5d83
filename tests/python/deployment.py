# SPDX-License-Identifier: Apache-2.0
"""The C++ program of the example: built once, run where no Python can be found.

Built against the installed Python package, unless QUANTO_EXAMPLES says where tests/consume/sdk.sh
has built it against the installed C++ package.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import quanto

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "examples" / "cpp" / "deploy"
BUILD = ROOT / "build" / "deploy"


def program() -> Path:
    """The built program; CMake builds it again if something changed."""
    if "QUANTO_EXAMPLES" in os.environ:
        return Path(os.environ["QUANTO_EXAMPLES"]) / "deploy" / "quanto_deploy"
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    cmake = shutil.which("cmake", path=tools)
    if cmake is None or shutil.which("c++", path=tools) is None:
        pytest.skip("cmake and a C++ compiler are not installed")
    library = Path(quanto.__file__).parent / "lib" / "libquanto.so"
    options = {"CMAKE_PREFIX_PATH": torch.utils.cmake_prefix_path, "QUANTO_LIBRARY": library}
    defines = [f"-D{name}={value}" for name, value in options.items()]
    environment = os.environ | {"PATH": tools}
    for command in (["-S", SOURCE, "-B", BUILD, *defines], ["--build", BUILD]):
        done = subprocess.run([cmake, *command], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return BUILD / "quanto_deploy"


def launch(arguments: list[str | Path], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program with nothing in its environment but this."""
    environment = {"PATH": "/nonexistent", "OMP_NUM_THREADS": "2"} | environment
    return subprocess.run([program(), *arguments], env=environment, capture_output=True, text=True)


def run(
    package: Path, inputs: tuple[torch.Tensor, ...], folder: Path, **environment: str
) -> tuple[torch.Tensor, ...]:
    """What the program computes."""
    torch.save(inputs, folder / "inputs.pt")
    files = [package, folder / "inputs.pt", folder / "outputs.pt"]
    done = launch(files, **environment)
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "outputs.pt")
