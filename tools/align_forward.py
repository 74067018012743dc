"""Show that every layer of a Paddle net computes what its PyTorch reference computes."""

from typing import Any

import _checkout  # noqa: F401 - the checkout onto the path

from commands.align_nets import inputs
from commands.align_options import add, arguments, parse
from commands.align_run import align_each
from commands.guard import run_guarded
from commands.trace import run

EXAMPLE = """python tools/align_forward.py --model stdc1_seg --train
  python tools/align_forward.py --torch my_pkg.nets:build --paddle my_port.nets:build \\
      --weights model.pth --input-shape 1 3 224 224
  python tools/align_forward.py --torch my_pkg.nets:build --input-shape 1 3 224 224 --record trace
  python tools/align_forward.py --paddle my_port.nets:build --force trace"""


def main() -> int:
    """Align the forward pass of one row of the table, of all, or of one's own nets."""
    command = arguments(__doc__ or "", EXAMPLE)
    command.add_argument("--train", action="store_true", help="train mode instead of eval mode")
    command.add_argument(
        "--float32", action="store_true", help="add float32's figures beside torch's own noise"
    )
    command.add_argument(
        "--export-npy", metavar="DIR", help="write outputs of both sides as reprod_log does"
    )
    add(command)
    options = parse(command)
    if options.record or options.force:
        return run(options, "forward", options.train)
    if options.export_npy and (options.train or options.all):
        command.error("--export-npy goes without --train (masks would differ) and --all")
    mode = "train" if options.train else "eval"

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        from align import align_forward

        given = inputs(options, name, (torch_net, paddle_net), options.train)
        how = {"train": options.train, "rules": options.rules}
        report = align_forward(torch_net, paddle_net, given, **how)
        if options.float32:
            from align.rungs.float32 import add_float32

            add_float32(report, torch_net, paddle_net, given, **how)
        if options.export_npy:
            from commands.reproduce.reprod_log import export_forward

            written = export_forward(options.export_npy, torch_net, paddle_net, given)
            report.notes.append(f"written: {', '.join(map(str, written))}")
        return report

    return align_each(options, f"forward_{mode}", f"forward, {mode} mode", align)


if __name__ == "__main__":
    run_guarded(main)
