"""Show that every gradient of a Paddle net is that of its PyTorch reference."""

from typing import Any

import _align
from _entry import run


def main() -> int:
    """Align the backward pass of one row of the table, or of all, from random cotangents."""
    command = _align.arguments(__doc__ or "", "python tools/align_backward.py --model stdc1_seg")
    command.add_argument("--eval", action="store_true", help="eval mode instead of train mode")
    options = _align.parse(command)
    train = not options.eval

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        from align import align_backward

        inputs = [_align.image(options, name, train)]
        return align_backward(torch_net, paddle_net, inputs, train=train)

    mode = "train" if train else "eval"
    return _align.align_each(options, f"backward_{mode}", f"backward, {mode} mode", align)


if __name__ == "__main__":
    run(main)
