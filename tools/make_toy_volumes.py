#!/usr/bin/env python
"""Write a small set of rendered cells as volumes, with nuclei and membranes as labels."""

import argparse

import _checkout  # noqa: F401 - the checkout onto the path

from commands import numbers
from commands.entry import parser, run
from commands.toy import write_toy_of_volumes


def main(argv: list[str] | None = None) -> int:
    """Parse, write, say what was written."""
    return write_toy_of_volumes(_parse(argv))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    command = parser(
        __doc__ or "",
        "python tools/make_toy_volumes.py data/toy_volumes --train 6 --val 2 --seed 0",
    )
    command.add_argument("dir", metavar="DIR", help="absent or empty folder to write to")
    command.add_argument("--format", choices=("h5", "nii.gz", "npz"), help="of the files (h5)")
    command.add_argument("--train", type=numbers.positive, metavar="N", help="training volumes (6)")
    command.add_argument("--val", type=numbers.positive, metavar="N", help="validation volumes (2)")
    command.add_argument(
        "--shape", type=numbers.shape_dhw, metavar="DxHxW", help="voxels of a volume (32x64x64)"
    )
    command.add_argument(
        "--seed", type=numbers.seed, metavar="S", help="same seed, same voxels (0)"
    )
    command.add_argument("--force", action="store_true", help="replace a toy set that is in DIR")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    return command.parse_args(argv)


if __name__ == "__main__":
    run(main)
