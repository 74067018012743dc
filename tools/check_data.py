#!/usr/bin/env python
"""Read every file of the data set that a config names, and tell what is wrong with it."""

import argparse
from pathlib import Path

import _checkout  # noqa: F401 - the checkout onto the path

from commands import numbers
from commands.check_data.flow import check
from commands.entry import add_config, parser, run


def main() -> int:
    """Parse, read, tell; needs neither torch nor Paddle."""
    return check(_parse())


def _parse() -> argparse.Namespace:
    command = parser(
        f"{__doc__} Files that are unreadable, mis-sized, mislabelled, unpaired, empty or in "
        "several splits; pixels and images by class; a picture of augmented samples.",
        "python tools/check_data.py examples/own_photos/photos.yml --workers 2",
    )
    add_config(command, "a config; its data section is read")
    command.add_argument(
        "--workers",
        type=numbers.not_negative,
        metavar="N",
        help="processes that read; 0: this one (default: by the number of frames)",
    )
    command.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="of the pictures (runs/NAME_data)"
    )
    command.add_argument("--quiet", action="store_true", help="the verdict alone")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    return command.parse_intermixed_args()


if __name__ == "__main__":
    run(main, apart=True)
