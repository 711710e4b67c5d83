# SPDX-License-Identifier: Apache-2.0
"""Quantizes a speech model: encoder, decoder and their convolutions, calibrated on audio features.

    python -m examples.speech [--model DIRECTORY] [--weights int8] [--activations int8]

Without --model it is a small Whisper of random weights, and the audio is noise: that shows the
API and what quantization changes, not recognition. Nothing is downloaded.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

import quanto

from .demo.model import quiet_loading

TOKENS = 8


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="speech", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="directory of a Whisper model")
    parser.add_argument("--weights", default="int8", help="int8, int4, int2, float8, ...")
    parser.add_argument("--activations", default="int8", help="none, int8, float8, ...")
    parser.add_argument("--samples", type=int, default=4, help="pieces of audio to calibrate on")
    return parser.parse_args(given)


def small_whisper() -> Any:
    """A Whisper of random weights."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    config = WhisperConfig(
        vocab_size=128,
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=256,
        decoder_ffn_dim=256,
        num_mel_bins=80,
        max_source_positions=100,
        max_target_positions=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    torch.manual_seed(0)
    return WhisperForConditionalGeneration(config).eval()


def load(path: Path | None) -> Any:
    """The float model."""
    if path is None:
        return small_whisper()
    if not (path / "config.json").exists():
        raise FileNotFoundError(f"speech: expected a model's directory, got {path}")
    from transformers import WhisperForConditionalGeneration

    return WhisperForConditionalGeneration.from_pretrained(path, local_files_only=True).eval()


def features(model: Any, count: int) -> list[torch.Tensor]:
    """Log-mel spectrograms of noise, as long as the model takes them."""
    config = model.config
    shape = (1, config.num_mel_bins, 2 * config.max_source_positions)
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


@torch.no_grad()
def transcribe(model: Any, audio: torch.Tensor) -> torch.Tensor:
    """Token ids, greedily."""
    ids: torch.Tensor = model.generate(audio, max_new_tokens=TOKENS, do_sample=False)
    return ids


@torch.no_grad()
def hidden(model: Any, audio: torch.Tensor) -> torch.Tensor:
    """What the decoder reads of the audio."""
    result = model.model.encoder(audio).last_hidden_state
    return result.dequantize() if isinstance(result, quanto.QTensor) else result


def quantize(model: Any, args: argparse.Namespace, samples: list[torch.Tensor]) -> None:
    """In place. The head stays float: its weight is the embedding's."""
    activations = None if args.activations == "none" else args.activations
    quanto.quantize(model, weights=args.weights, activations=activations, exclude="proj_out")
    if activations:
        with quanto.Calibration():
            for audio in samples:
                transcribe(model, audio)
    quanto.freeze(model)


def run(args: argparse.Namespace) -> None:
    """Quantizes, compares, saves and reloads."""
    if args.samples < 1:
        raise ValueError(f"speech: expected 1 sample or more, got {args.samples}")
    model = load(args.model)
    *samples, test = features(model, args.samples + 1)
    exact = hidden(model, test)
    quantize(model, args, samples)
    error = (hidden(model, test) - exact).norm() / exact.norm()
    count = len(quanto.quantization_map(model))
    print(f"{count} modules quantized, {float(error):.2%} error of the encoder's output")
    with tempfile.TemporaryDirectory() as directory:
        quanto.save_pretrained(model, directory)
        reloaded = quanto.load(directory)
        if not torch.equal(transcribe(reloaded, test), transcribe(model, test)):
            raise RuntimeError("speech: expected the reloaded model to say the same")
    print("reloaded, it says the same")


def main(given: list[str] | None = None) -> int:
    """Exit status: 0, or 1 after one line that says why."""
    try:
        with quiet_loading():
            run(arguments(given))
    except (OSError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
