"""Show that every gradient of a Paddle net is that of its PyTorch reference."""

from typing import Any

import _checkout  # noqa: F401 - the checkout onto the path

from commands.align_nets import inputs, losses
from commands.align_options import add, arguments, parse
from commands.align_run import align_each
from commands.guard import run_guarded
from commands.trace import run

EXAMPLE = """python tools/align_backward.py --model stdc1_seg
  python tools/align_backward.py --torch my_pkg.nets:build --paddle my_port.nets:build \\
      --torch-loss my_pkg.nets:loss --paddle-loss my_port.nets:loss --inputs batch.npz"""


def main() -> int:
    """Align the backward pass, from a loss or from random cotangents of the outputs."""
    command = arguments(__doc__ or "", EXAMPLE, losses=True)
    command.add_argument("--eval", action="store_true", help="eval mode instead of train mode")
    add(command)
    options = parse(command)
    train = not options.eval
    if options.record or options.force:
        return run(options, "backward", train)

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        from align import align_backward

        both = (torch_net, paddle_net)
        criteria = losses(options)
        given = inputs(options, name, both, train, labelled=criteria[0] is not None)
        return align_backward(*both, given, *criteria, train=train, rules=options.rules)

    mode = "train" if train else "eval"
    return align_each(options, f"backward_{mode}", f"backward, {mode} mode", align)


if __name__ == "__main__":
    run_guarded(main)
