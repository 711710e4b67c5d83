# SPDX-License-Identifier: Apache-2.0
"""The programs of examples/cpp beside Python: files go both ways, results are equal, bit for bit.

Run by sdk.sh, which builds them; QUANTO_EXAMPLES is where.
"""

import json
import os
import subprocess
from pathlib import Path

import cli
import pytest
import torch
from safetensors import safe_open
from torch import nn

import quanto
from examples.fashion_mnist import data

PROGRAMS = Path(os.environ["QUANTO_EXAMPLES"])
SAMPLES = 600
PROMPT = [3, 14, 15, 92, 6]  # of 96 tokens
NEW_TOKENS = 6

needs_images = pytest.mark.skipif(
    not data.DIRECTORY.is_dir(), reason=f"Debian's {data.PACKAGE} is not installed"
)


def run(program: str, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [str(PROGRAMS / program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, (done.args, done.stdout, done.stderr)
    return done


def floats(path: Path, columns: int) -> torch.Tensor:
    return torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.float32).view(-1, columns)


class Net(nn.Module):
    """That of examples/cpp/fashion_mnist."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.conv2 = nn.Conv2d(12, 30, 3, padding=1)
        self.hidden = nn.Linear(30 * 7 * 7, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = torch.max_pool2d(torch.relu(self.conv1(images)), 2)
        features = torch.max_pool2d(torch.relu(self.conv2(features)), 2)
        return self.head(torch.relu(self.hidden(features.flatten(1))))


@torch.no_grad()
def logits_of(net: nn.Module) -> torch.Tensor:
    images = data.load(data.DIRECTORY, "test", SAMPLES).images
    return net(images).dequantize()


@needs_images
def test_a_model_of_cpp_runs_in_python(tmp_path):
    file, logits = tmp_path / "net.safetensors", tmp_path / "logits"
    done = run(
        "fashion_mnist", "--samples", SAMPLES, "--epochs", 1, "--output", file, "--logits", logits
    )
    assert [line.split("  ")[0] for line in done.stdout.splitlines()] == [
        "float32",
        "int8 weights and activations",
        "frozen",
        "reloaded; bytes of the file",
    ]
    with torch.device("meta"):
        net = Net()
    with safe_open(file, framework="pt") as opened:
        quantization_map = json.loads(opened.metadata()["quanto_modules"])
    assert quantization_map["hidden"]["activations"] == "qint8"
    quanto.requantize(net, quanto.safe_load(file), quantization_map)
    assert quanto.quantization_map(net) == quantization_map
    assert torch.equal(logits_of(net), floats(logits, 10))
    assert "conv2" in cli.run("inspect", file).stdout
    cli.run("verify", file)


@needs_images
@pytest.mark.parametrize("weights", ["int2", "int4", "int8", "float8"])
def test_a_model_of_python_runs_in_cpp(tmp_path, weights):
    torch.manual_seed(0)
    net = Net().eval()
    quanto.quantize(net, weights=weights, activations="int8")
    with quanto.Calibration():
        logits_of(net)
    quanto.freeze(net)
    file, logits = tmp_path / "net.safetensors", tmp_path / "logits"
    said = {"quanto_modules": json.dumps(quanto.quantization_map(net))}
    quanto.safe_save(net.state_dict(), file, said)
    run("fashion_mnist", "--samples", SAMPLES, "--load", file, "--logits", logits)
    assert torch.equal(floats(logits, 10), logits_of(net))


def test_a_file_of_another_model_is_one_line(tmp_path):
    file = tmp_path / "net.safetensors"
    quanto.safe_save({"weight": torch.ones(2)}, file)
    if data.DIRECTORY.is_dir():
        done = run("fashion_mnist", "--samples", 10, "--load", file, code=1)
        assert done.stderr.startswith("requantize: missing keys: conv1.weight, conv1.bias, ")
        assert done.stderr.endswith("; unexpected keys: weight\n")
    done = run("generate", tmp_path, "--tokens", 1, code=1)
    assert done.stderr == f"{tmp_path}/config.json: expected a readable file\n"


@torch.no_grad()
def generated(model: nn.Module) -> tuple[list[int], torch.Tensor]:
    """Greedy tokens, and the logits of the prompt and of all but the last of them."""
    tokens, rows, cache = torch.tensor([PROMPT]), [], None
    made: list[int] = []
    for _ in range(NEW_TOKENS):
        output = model(tokens, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        rows.append(output.logits[0].float())
        tokens = output.logits[:, -1:].argmax(-1)
        made.append(int(tokens))
    return made, torch.cat(rows)


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@cli.every_scheme
def test_a_checkpoint_of_the_command_line_generates_in_cpp(tmp_path, scheme, tied):
    cli.save_model(tmp_path / "float", tied=tied)
    folder = tmp_path / "quantized"
    cli.run("quantize", tmp_path / "float", folder, *cli.options_of(scheme))
    config = json.loads((folder / "config.json").read_text())
    config["eos_token_id"] = None
    (folder / "config.json").write_text(json.dumps(config))
    logits = tmp_path / "logits"
    prompt = ",".join(map(str, PROMPT))
    done = run("generate", folder, "--tokens", prompt, "--new", NEW_TOKENS, "--logits", logits)
    tokens, expected = generated(quanto.load(folder))
    assert torch.equal(floats(logits, 96), expected)
    assert list(map(int, done.stdout.split())) == tokens
