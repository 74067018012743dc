"""Rebuild the page of a run from its JSON file, or lay two runs side by side. Runs no net."""

import argparse
from pathlib import Path

import _checkout  # noqa: F401 - the checkout onto the path

from commands.entry import parser, run
from commands.report import rebuild_pages


def main() -> int:
    """Write the page and print its verdict; needs neither torch nor Paddle."""
    return rebuild_pages(_parse())


def _parse() -> argparse.Namespace:
    arguments = parser(
        f"{__doc__} The exit code is that of the run, or of the second of two.",
        "python tools/report.py out/forward_eval.json\n"
        "  python tools/report.py before.json after.json -o mended.html",
    )
    arguments.add_argument(
        "files", type=Path, nargs="+", metavar="FILE.json", help="one run, or before and after"
    )
    arguments.add_argument("-o", "--output", type=Path, help="default: beside the (second) file")
    arguments.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML too")
    arguments.add_argument("--force", action="store_true", help="replace an existing output")
    arguments.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments.add_argument("--quiet", action="store_true", help="the verdict alone")
    options = arguments.parse_args()
    if len(options.files) > 2:
        arguments.error("one file, or two: before and after")
    return options


if __name__ == "__main__":
    run(main)
