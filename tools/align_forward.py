"""Shows that every layer of a Paddle net computes what its PyTorch reference computes."""

import sys
from pathlib import Path
from typing import Any

from _entry import parser, print_json, run


def main(argv: list[str] | None = None) -> int:
    """Align the forward pass of one row of the table, or of all, and print the verdict."""
    options = _parse(argv)
    from rich.console import Console

    from align import subjects, terminal
    from common.pairs import PAIRS

    names = list(PAIRS) if options.all else [options.model]
    screen = Console(stderr=options.json, soft_wrap=True)
    reports = []
    for name in names:
        torch_net, paddle_net, name = _nets(options, name)
        reports.append(_align(options, name, torch_net, paddle_net))
        title = f"{name}, {'train' if options.train else 'eval'} mode"
        terminal.print_report(reports[-1], screen, title)
        if options.report:
            stem = f"forward_{name}" if options.all else "forward"
            written = subjects.write_numbers(reports[-1], Path(options.report), stem)
            screen.print(f"written: {', '.join(map(str, written))}", highlight=False)
    if options.json:
        print_json([report.to_dict() for report in reports])
    return max(report.exit_code for report in reports)


def _parse(argv: list[str] | None) -> Any:
    arguments = parser(__doc__ or "", "python tools/align_forward.py --model stdc1_seg --train")
    net = arguments.add_argument_group("the nets")
    net.add_argument("--model", default=None, help="row of the table (default: stdc2_seg)")
    net.add_argument("--all", action="store_true", help="every row of the table")
    net.add_argument("--weights", metavar="FILE", help="a PyTorch checkpoint for both nets")
    net.add_argument("--seed", type=int, default=0, help="of weights and input (default: 0)")
    run_ = arguments.add_argument_group("the run")
    run_.add_argument("--input-shape", type=int, nargs=4, metavar=("N", "C", "H", "W"))
    run_.add_argument("--train", action="store_true", help="train mode instead of eval mode")
    run_.add_argument("--report", metavar="DIR", help="write JSON, CSV and picture of every call")
    run_.add_argument("--json", action="store_true", help="print the report as JSON on stdout")
    options = arguments.parse_args(argv)
    if options.all and (options.weights or options.model):
        arguments.error("--all takes neither --model nor --weights")
    return options


def _nets(options: Any, name: str | None) -> tuple[Any, Any, str]:
    from align import subjects

    if options.weights:
        return subjects.pair_with_weights(options.weights, name)
    name = name or "stdc2_seg"
    torch_net, paddle_net = subjects.seeded_pair(name, options.seed)
    return torch_net, paddle_net, name


def _align(options: Any, name: str, torch_net: Any, paddle_net: Any) -> Any:
    from align import align_forward, subjects
    from common.pairs import get_pair

    shape = tuple(options.input_shape or get_pair(name).default_input)
    subjects.check_input_shape(shape, options.train)
    print(f"aligning {name} on {list(shape)} ...", file=sys.stderr)
    inputs = [subjects.seeded_input(shape, options.seed)]
    report = align_forward(torch_net, paddle_net, inputs, train=options.train)
    report.settings |= {"model": name, "seed": options.seed, "weights": options.weights}
    return report


if __name__ == "__main__":
    run(main)
