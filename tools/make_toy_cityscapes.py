#!/usr/bin/env python
"""Write a small set of rendered street scenes in the layout and naming of Cityscapes."""

import argparse

import _checkout  # noqa: F401 - the checkout onto the path

from commands import numbers
from commands.entry import parser, run
from commands.toy import write_toy


def main(argv: list[str] | None = None) -> int:
    """Parse, write, say what was written."""
    return write_toy(_parse(argv))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    command = parser(
        __doc__ or "",
        "python tools/make_toy_cityscapes.py data/toy_cityscapes --train 60 --val 20 --seed 0",
    )
    command.add_argument("dir", metavar="DIR", help="absent or empty folder to write to")
    command.add_argument(
        "--layout",
        choices=("cityscapes", "coco_panoptic", "coco_instances"),
        help="how the set lies on disk (cityscapes); coco_instances shows shapes, not streets",
    )
    command.add_argument("--train", type=numbers.positive, metavar="N", help="training frames (60)")
    command.add_argument("--val", type=numbers.positive, metavar="N", help="validation frames (20)")
    command.add_argument(
        "--size",
        dest="size_hw",
        type=numbers.size_hw,
        metavar="WxH",
        help="pixels of a frame (512x256)",
    )
    command.add_argument("--seed", type=numbers.seed, metavar="S", help="same seed, same bytes (0)")
    command.add_argument("--force", action="store_true", help="replace a toy set that is in DIR")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    return command.parse_args(argv)


if __name__ == "__main__":
    run(main)
