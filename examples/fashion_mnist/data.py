# SPDX-License-Identifier: Apache-2.0
"""Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017) as Debian packages it: gzipped IDX files."""

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch

PACKAGE = "dataset-fashion-mnist"
DIRECTORY = Path("/usr/share/datasets/fashion-mnist")
SIDE = 28
CLASSES = 10
_MAGIC = b"\x00\x00\x08"  # of IDX files of unsigned bytes; the number of dimensions follows
_FILES = {"train": "train", "test": "t10k"}


@dataclass(frozen=True)
class Split:
    """Images (N, 1, 28, 28) in [0, 1] and their classes (N,)."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


def load(directory: Path, split: str, limit: int | None = None) -> Split:
    """The "train" or the "test" images, the first `limit` of them.

    Raises FileNotFoundError if a file is absent and ValueError if it is not what it should be.
    """
    stem = _FILES[split]
    images = read_idx(directory / f"{stem}-images-idx3-ubyte.gz", 3)
    labels = read_idx(directory / f"{stem}-labels-idx1-ubyte.gz", 1)
    if images.shape[1:] != (SIDE, SIDE) or len(images) != len(labels) or not len(labels):
        got = f"{tuple(images.shape)} and {tuple(labels.shape)}"
        raise ValueError(f"fashion_mnist: expected images (N, 28, 28) and N labels, got {got}")
    if int(labels.max()) >= CLASSES:
        raise ValueError(f"fashion_mnist: expected labels below 10, got {int(labels.max())}")
    return Split(images[:limit, None].float() / 255, labels[:limit].long())


def read_idx(path: Path, dimensions: int) -> torch.Tensor:
    """The unsigned bytes of a gzipped IDX file of so many dimensions."""
    if not path.is_file():
        raise FileNotFoundError(
            f"fashion_mnist: expected {path}, got no such file: install Debian's package {PACKAGE} "
            "(apt-get install), or name the directory of its four files with --data"
        )
    try:
        content = gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"fashion_mnist: expected gzip in {path}, got {error}") from error
    start = 4 + 4 * dimensions
    sizes = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    if content[:4] != _MAGIC + bytes([dimensions]) or len(content) != start + math.prod(sizes):
        raise ValueError(
            f"fashion_mnist: expected an IDX file of bytes in {dimensions} dimensions, got {path}"
        )
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)[start:].reshape(sizes)
