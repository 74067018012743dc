"""Show that every gradient of a Paddle net is that of its PyTorch reference."""

import _checkout  # noqa: F401 - the checkout onto the path

from commands.align.options import add_config, add_halves, alignment_parser, parse_alignment
from commands.align.passes import align_backward_pass
from commands.guard import run_guarded

EXAMPLE = """python tools/align_backward.py my_net.yml
  python tools/align_backward.py --model stdc1_seg
  python tools/align_backward.py --torch my_pkg.nets:build --paddle my_port.nets:build \\
      --torch-loss my_pkg.nets:loss --paddle-loss my_port.nets:loss --inputs batch.npz"""


def main() -> int:
    """Align the backward pass, from a loss or from random cotangents of the outputs."""
    command = alignment_parser(__doc__ or "", EXAMPLE, losses=True)
    command.add_argument("--eval", action="store_true", help="eval mode instead of train mode")
    add_halves(command)
    add_config(command)
    return align_backward_pass(parse_alignment(command))


if __name__ == "__main__":
    run_guarded(main)
