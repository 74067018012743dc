"""Show that every layer of a Paddle net computes what its PyTorch reference computes."""

import _checkout  # noqa: F401 - the checkout onto the path

from commands.align.options import (
    add_config,
    add_halves,
    add_third,
    alignment_parser,
    parse_alignment,
)
from commands.align.passes import align_forward_pass
from commands.guard import run_guarded

EXAMPLE = """python tools/align_forward.py my_net.yml
  python tools/align_forward.py --model stdc1_seg --train
  python tools/align_forward.py --torch my_pkg.nets:build --paddle my_port.nets:build \\
      --weights model.pth --input-shape 1 3 224 224
  python tools/align_forward.py --torch my_pkg.nets:build --input-shape 1 3 224 224 --record trace
  python tools/align_forward.py --paddle my_port.nets:build --force trace
  python tools/align_forward.py --paddle my_port.nets:build --against model.onnx"""


def main() -> int:
    """Align the forward pass of one row of the table, of all, or of one's own nets."""
    command = alignment_parser(__doc__ or "", EXAMPLE)
    command.add_argument("--train", action="store_true", help="train mode instead of eval mode")
    command.add_argument(
        "--float32", action="store_true", help="add float32's figures beside torch's own noise"
    )
    command.add_argument(
        "--export-npy", metavar="DIR", help="write outputs of both sides as reprod_log does"
    )
    add_halves(command)
    add_third(command)
    add_config(command)
    options = parse_alignment(command)
    if options.export_npy and (options.train or options.all):
        command.error("--export-npy goes without --train (masks would differ) and --all")
    return align_forward_pass(options)


if __name__ == "__main__":
    run_guarded(main)
