"""Climb one rung of the ladder: weights, init, loss, data, metric, step or export of a config.

Of nets of your own: weights, init, loss and step. `judge` judges a stored trace again.
"""

import _checkout  # noqa: F401 - the checkout onto the path

from commands.align.options import add_optimizers, alignment_parser, parse_alignment
from commands.align.stage import WITHOUT_NETS, add_stage, run_stage
from commands.guard import run_guarded

EXAMPLE = """python tools/align_stage.py loss configs/stdc1_toy.yml
  python tools/align_stage.py weights --torch my_pkg.nets:build --paddle my_port.nets:build
  python tools/align_stage.py loss --torch-loss my_pkg:loss --paddle-loss my_port:loss \\
      --inputs outputs_and_label.npz
  python tools/align_stage.py judge trace"""


def main() -> int:
    """Align one stage of one config, or of one's own nets."""
    command = alignment_parser(__doc__ or "", EXAMPLE, table=False, losses=True)
    add_optimizers(command)
    add_stage(command)
    return run_stage(command, parse_alignment(command, WITHOUT_NETS))


if __name__ == "__main__":
    run_guarded(main)
