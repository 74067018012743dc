"""Convert an authors' PyTorch checkpoint into a Paddle net's weights, and prove them equal."""

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import _entry

SHOW_PROGRESS_FROM = 200_000_000  # bytes


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = _entry.parser(
        "Find out which net of the table a PyTorch checkpoint holds, move every tensor into the "
        "Paddle net of the same name, run both on one input in float64, and write the weights "
        "and an account of every tensor.",
        "python tools/convert_weights.py model_maxmIOU75.pth",
    )
    parser.add_argument("checkpoint", type=Path, help="file of torch.save; its code is never run")
    parser.add_argument("--output", type=Path, help="default: beside it, ending in .pdparams")
    parser.add_argument("--model", help="the net it must hold (default: find out)")
    parser.add_argument("--num-classes", type=int, help="the number of classes it must have")
    parser.add_argument("--into", metavar="ROW:PATH", help="fill that part of another net")
    parser.add_argument("--key", help="which state dict, where the file holds several")
    parser.add_argument("--no-verify", action="store_true", help="do not run the two nets")
    parser.add_argument("--force", action="store_true", help="replace an existing output")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args()


def main() -> int:
    """Convert, then say what became of the tensors."""
    args = parse()
    from convert import convert_checkpoint
    from convert.write import default_output

    output = args.output or default_output(args.checkpoint)
    with progress_bar(args.checkpoint) as progress:
        conversion = convert_checkpoint(
            args.checkpoint,
            output,
            args.model,
            verify=not args.no_verify,
            num_classes=args.num_classes,
            into=args.into,
            key=args.key,
            force=args.force,
            progress=progress,
        )
    if args.json:
        _entry.print_json(conversion.account.summary())
    else:
        show(conversion.account)
    return _entry.CHECKED_GOOD


def progress_bar(checkpoint: Path) -> Any:
    """Return a context that gives a progress callback: a bar on stderr for big files, else None."""
    if not checkpoint.is_file() or checkpoint.stat().st_size < SHOW_PROGRESS_FROM:
        return nullcontext()
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import Progress

    @contextmanager
    def bar() -> Any:
        with Progress(console=Console(stderr=True), transient=True) as shown:
            task = shown.add_task("writing", total=None)
            yield lambda done, total: shown.update(task, completed=done, total=total)

    return bar()


def show(account: Any) -> None:
    """Print the account's head: what was found, totals, what was dropped, proof, output."""
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False, soft_wrap=True)
    net, source = account.net, account.source
    options = ", ".join(f"{name}={value}" for name, value in net["options"].items())
    console.print(f"{source['path']}: {net['row']} ({options})")
    console.print(f"found as   {source['found_as']}")
    if net["into"]:
        console.print(f"into       {net['into']}")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    for name, count in account.totals.items():
        if count:
            table.add_row(str(count), name)
    console.print(table)
    for reason, keys in account.dropped_by_reason.items():
        console.print(f"dropped    {len(keys)}: {reason} ({keys[0]}{', ...' * (len(keys) > 1)})")
    for key in account.left_at_initialisation:
        console.print(f"left at initialisation  {key}")
    if proof := account.verification:
        shape = "x".join(map(str, proof["input_shape"]))
        console.print(
            f"verified   largest difference {proof['worst']:.1e} of the largest value, allowed "
            f"{proof['allowed']:.0e} (float64, input {shape}, {len(proof['differences'])} outputs)"
        )
    else:
        console.print("verified   no (--no-verify)")
    console.print(f"output     {account.output['path']} ({account.output['bytes']:,} bytes)")
    console.print(f"SHA-256    {account.output['sha256']}")
    console.print(f"account    {account.output['account']}")


if __name__ == "__main__":
    _entry.run(main)
