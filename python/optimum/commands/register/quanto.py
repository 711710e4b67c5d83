# SPDX-License-Identifier: Apache-2.0
"""`optimum-cli quanto`, found by optimum's command line in this folder.

There is no `__init__.py` here nor in `optimum/commands`: other distributions own parts of both.
Torch is imported only when a command runs.
"""

from argparse import ArgumentParser

from optimum.commands.base import BaseOptimumCLICommand, CommandInfo


class QuantizeCommand(BaseOptimumCLICommand):
    """Quantize a model's weights and write it."""

    @staticmethod
    def parse_args(parser: ArgumentParser) -> None:
        """Add the arguments."""
        parser.add_argument("output", help="directory to write the quantized model to")
        parser.add_argument("-m", "--model", required=True, help="directory or hub id of a model")
        parser.add_argument(
            "--weights",
            default="int8",
            choices=["int2", "int4", "int8", "float8"],
            help="type of the weights (default int8)",
        )
        parser.add_argument("--revision", help="revision of a model of the hub")
        parser.add_argument(
            "--trust_remote_code", action="store_true", help="run code that comes with the model"
        )
        parser.add_argument(
            "--library", choices=["transformers"], help="library of the model (transformers)"
        )
        parser.add_argument(
            "--task", help="task of the model; default: the architecture that its config names"
        )
        parser.add_argument(
            "--torch_dtype",
            default="auto",
            choices=["auto", "fp16", "bf16"],
            help="dtype to load the model in (default: that of the model)",
        )
        parser.add_argument("--device", default="cpu", help="device to quantize on (default cpu)")

    def run(self) -> None:
        """Do it."""
        from quanto.subpackage.quantize_command import run

        run(self.args)


class QuantoCommand(BaseOptimumCLICommand):
    """The commands of this package."""

    COMMAND = CommandInfo(name="quanto", help="quantize models")
    SUBCOMMANDS = (
        CommandInfo(
            name="quantize",
            help="quantize a model of transformers",
            subcommand_class=QuantizeCommand,
        ),
    )


REGISTER_COMMANDS = [QuantoCommand]
