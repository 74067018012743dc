"""Show that training steps of a recipe are those of its PyTorch reference, each judged alone."""

import _checkout  # noqa: F401 - the checkout onto the path

from commands import numbers
from commands.align.options import (
    add_config,
    add_optimizers,
    add_schedules,
    alignment_parser,
    parse_alignment,
)
from commands.align.training import align_steps
from commands.guard import run_guarded

EXAMPLE = """python tools/align_training.py configs/stdc1_toy.yml --steps 5
  python tools/align_training.py --torch my_pkg.nets:build --paddle my_port.nets:build \\
      --torch-loss my_pkg.nets:loss --paddle-loss my_port.nets:loss \\
      --torch-optimizer my_pkg.nets:optimizer --paddle-optimizer my_port.nets:optimizer \\
      --inputs step0.npz step1.npz"""


def main() -> int:
    """Align forced training steps of one config, or of one's own nets: a file a step."""
    command = alignment_parser(__doc__ or "", EXAMPLE, table=False, losses=True)
    add_optimizers(command)
    add_schedules(command)
    add_config(command)
    command.add_argument(
        "--steps", type=numbers.positive, help="default: reproduce.training_steps, or all files"
    )
    command.add_argument(
        "--export-npy", metavar="DIR", help="write losses and rates of both sides as reprod_log"
    )
    return align_steps(command, parse_alignment(command))


if __name__ == "__main__":
    run_guarded(main)
