# SPDX-License-Identifier: Apache-2.0
"""The Fashion-MNIST example on a few hundred images, of the data set where it is installed."""

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import quanto

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from examples.fashion_mnist import data, model, workflow  # noqa: E402

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(quanto.__file__).parents[1])}
IMAGES = 300


def write_idx(path, tensor):
    header = bytes([0, 0, 8, tensor.dim()])
    sizes = b"".join(size.to_bytes(4, "big") for size in tensor.shape)
    path.write_bytes(gzip.compress(header + sizes + tensor.numpy().tobytes()))


def write_split(directory, stem, count, seed):
    """Images whose class is where they are bright, as a classifier can learn."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (count,), generator=generator, dtype=torch.uint8)
    images = torch.randint(60, (count, 28, 28), generator=generator, dtype=torch.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        row, column = divmod(label, 4)
        image[9 * row : 9 * row + 9, 7 * column : 7 * column + 7] += 150
    write_idx(directory / f"{stem}-images-idx3-ubyte.gz", images)
    write_idx(directory / f"{stem}-labels-idx1-ubyte.gz", labels)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The directory of the installed data set, or of one that looks like it."""
    if data.DIRECTORY.is_dir():
        return data.DIRECTORY
    directory = tmp_path_factory.mktemp("fashion_mnist")
    write_split(directory, "train", IMAGES, 0)
    write_split(directory, "t10k", IMAGES, 1)
    return directory


@pytest.fixture(scope="module")
def example(images, tmp_path_factory):
    output = tmp_path_factory.mktemp("output")
    arguments = ["--data", str(images), "--limit", str(IMAGES), "--epochs", "1"]
    result = run(*arguments, "--output", str(output))
    assert result.returncode == 0, result.stderr
    return result.stdout, output


def run(*arguments):
    command = [sys.executable, "-m", "examples.fashion_mnist", *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, timeout=600
    )


def test_it_prints_a_row_for_every_step(example):
    printed, _ = example
    rows = re.findall(r"^(\S.*?) +([\d.]+)% +(\d+)$", printed, re.MULTILINE)
    assert [step for step, *_ in rows] == [
        "float32",
        "int4 weights, int8 activations, calibrated",
        "tuned",
        "frozen",
        "saved and reloaded",
    ]
    accuracies, sizes = ([float(row[i]) for row in rows] for i in (1, 2))
    assert accuracies[2] == accuracies[3] == accuracies[4]
    assert sizes[4] == sizes[3] < sizes[0] / 6
    assert f"{IMAGES} images to train on, {IMAGES} to test" in printed
    assert "the reloaded model's logits are identical" in printed


def test_it_saves_packed_weights_and_the_activations_to_quantize(example):
    _, output = example
    tensors = quanto.safe_load(output / workflow.TENSORS)
    assert tensors["3.weight._data._data"].dtype is torch.uint8
    entries = json.loads((output / workflow.MAP).read_text())
    assert list(entries) == ["0", "3", "7", "9"]
    assert all((e["weights"], e["activations"]) == ("qint4", "qint8") for e in entries.values())
    reloaded = workflow.reload(output)
    assert isinstance(reloaded[0], quanto.QConv2d)
    assert all(tensors[f"{name}.input_scale"] != 1 for name in entries)


def test_tuning_lowers_the_loss(images):
    torch.manual_seed(0)
    training = data.load(images, "train", IMAGES)
    net = model.classifier()
    model.train(net, training, 2, 2e-3)
    quanto.quantize(net, weights="int2")

    def loss():
        return float(
            torch.nn.functional.cross_entropy(model.logits(net, training.images), training.labels)
        )

    before = loss()
    model.train(net, training, 4, 1e-3)
    assert loss() < before


def test_a_missing_data_set_is_one_line_that_names_the_package(tmp_path):
    result = run("--data", str(tmp_path))
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("fashion_mnist: expected")
    assert "dataset-fashion-mnist" in line


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"no gzip", "expected gzip in"),
        (gzip.compress(bytes([0, 0, 8, 3, 0, 0])), "expected an IDX file of bytes in 3 dimensions"),
        (gzip.compress(bytes([0, 0, 13, 3]) + bytes(12)), "expected an IDX file of bytes"),
    ],
    ids=["no gzip", "cut off", "another type"],
)
def test_files_that_are_something_else(tmp_path, content, match):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=match):
        data.read_idx(path, 3)


def test_splits_whose_files_do_not_belong_together(tmp_path):
    write_split(tmp_path, "train", 20, 0)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", torch.zeros(19, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"expected images .* and N labels"):
        data.load(tmp_path, "train")
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", torch.full((20,), 10, dtype=torch.uint8))
    with pytest.raises(ValueError, match="expected labels below 10, got 10"):
        data.load(tmp_path, "train")
    write_split(tmp_path, "train", 20, 0)
    assert data.load(tmp_path, "train", 5).images.shape == (5, 1, 28, 28)
