# SPDX-License-Identifier: Apache-2.0
"""Quantizes the transformer of an image generator (PixArt) in both ways there are.

    python -m examples.diffusers [--model DIRECTORY] [--weights int8]

In one the loaded model is quantized and wrapped (QuantizedPixArtTransformer2DModel), in the other
diffusers quantizes while it loads (quantization_config). Without --model the transformer is tiny
and random, which shows the API. Nothing is downloaded.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

import quanto


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="diffusers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, help="directory of a PixArtTransformer2DModel")
    parser.add_argument("--weights", default="int8", help="int8, int4, int2, float8, ...")
    parser.add_argument("--exclude", default="proj_out", help="a module that stays float")
    return parser.parse_args(given)


def tiny_transformer() -> Any:
    """A PixArt transformer of random weights."""
    from diffusers import PixArtTransformer2DModel

    torch.manual_seed(0)
    return PixArtTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=16,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        cross_attention_dim=64,
        sample_size=16,
        patch_size=2,
        caption_channels=32,
        use_additional_conditions=False,
    ).eval()


@torch.no_grad()
def denoise(model: Any) -> torch.Tensor:
    """One step on noise, with a prompt of noise."""
    config = model.config
    generator = torch.Generator().manual_seed(1)
    size = config.sample_size
    image = torch.randn(1, config.in_channels, size, size, generator=generator)
    prompt = torch.randn(1, 8, config.caption_channels, generator=generator)
    result: torch.Tensor = model(
        image,
        encoder_hidden_states=prompt,
        timestep=torch.tensor([500]),
        added_cond_kwargs={"resolution": None, "aspect_ratio": None},
    ).sample
    return result


def wrapped(path: Path, args: argparse.Namespace, directory: Path) -> torch.Tensor:
    """Quantized after loading, saved with its map beside it, and reloaded."""
    from diffusers import PixArtTransformer2DModel

    model = PixArtTransformer2DModel.from_pretrained(path)
    quantized = quanto.QuantizedPixArtTransformer2DModel.quantize(
        model, weights=args.weights, exclude=args.exclude
    )
    quantized.save_pretrained(directory)
    return denoise(quanto.QuantizedPixArtTransformer2DModel.from_pretrained(directory))


def on_the_fly(path: Path, args: argparse.Namespace, directory: Path) -> torch.Tensor:
    """Quantized weight by weight while it is loaded, saved, and loaded by a bare call."""
    from diffusers import PixArtTransformer2DModel
    from quanto.integrations.diffusers import QuantoConfig

    config = QuantoConfig(args.weights, modules_to_not_convert=[args.exclude])
    model = PixArtTransformer2DModel.from_pretrained(path, quantization_config=config)
    model.save_pretrained(directory)
    return denoise(PixArtTransformer2DModel.from_pretrained(directory))


def run(args: argparse.Namespace) -> dict[str, float]:
    """Prints and returns the error of both ways, beside the float transformer."""
    from diffusers import PixArtTransformer2DModel

    if args.model is not None and not (args.model / "config.json").exists():
        raise FileNotFoundError(f"diffusers: expected a model, got {args.model}")
    errors = {}
    with tempfile.TemporaryDirectory() as temporary:
        path = args.model or Path(temporary) / "float"
        if args.model is None:
            tiny_transformer().save_pretrained(path)
        exact = denoise(PixArtTransformer2DModel.from_pretrained(path))
        for way in (wrapped, on_the_fly):
            output = way(path, args, Path(temporary) / way.__name__)
            errors[way.__name__] = float((output - exact).norm() / exact.norm())
            print(f"{way.__name__}: {errors[way.__name__]:.2%} error of one step's output")
    return errors


def main(given: list[str] | None = None) -> int:
    """Exit status: 0, or 1 after one line that says why."""
    try:
        run(arguments(given))
    except (OSError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
