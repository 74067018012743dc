"""Show that every layer of a Paddle net computes what its PyTorch reference computes."""

from typing import Any

import _align
from _entry import run


def main() -> int:
    """Align the forward pass of one row of the table, or of all."""
    command = _align.arguments(
        __doc__ or "", "python tools/align_forward.py --model stdc1_seg --train"
    )
    command.add_argument("--train", action="store_true", help="train mode instead of eval mode")
    options = _align.parse(command)
    mode = "train" if options.train else "eval"

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        from align import align_forward

        inputs = [_align.image(options, name, options.train)]
        return align_forward(torch_net, paddle_net, inputs, train=options.train)

    return _align.align_each(options, f"forward_{mode}", f"forward, {mode} mode", align)


if __name__ == "__main__":
    run(main)
