"""The whole ladder on one config: convert, align every rung, train, evaluate, summarise."""

import argparse
from pathlib import Path

import _checkout  # noqa: F401 - the checkout onto the path

from commands.entry import add_config, parser, run
from commands.reproduce.command import reproduce


def main() -> int:
    """Reproduce and print the summary."""
    return reproduce(_parse())


def _parse() -> argparse.Namespace:
    arguments = parser(__doc__ or "", "python tools/reproduce.py configs/stdc1_toy.yml --fast")
    add_config(arguments)
    arguments.add_argument(
        "--checkpoint", type=Path, help="a PyTorch checkpoint (default: seeded weights)"
    )
    arguments.add_argument("--fast", action="store_true", help="every rung, on very little")
    arguments.add_argument(
        "--both", action="store_true", help="train the reference too, and compare the scores"
    )
    arguments.add_argument("--output", type=Path, help="folder of the run (default: in runs/)")
    arguments.add_argument(
        "--report", type=Path, metavar="DIR", help="write the report here too (page, JSON, JUnit)"
    )
    arguments.add_argument("--json", action="store_true", help="print the summary as JSON")
    arguments.add_argument("--quiet", action="store_true", help="the verdict alone, no progress")
    return arguments.parse_intermixed_args()


if __name__ == "__main__":
    run(main, apart=True)
