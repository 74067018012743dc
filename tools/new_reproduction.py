"""Begin a reproduction: write a commented config and stubs to DIR, and say what is to be filled in.

Where DIR has a config already, nothing is written: what there is, is checked.
"""

import argparse
from pathlib import Path

import _checkout  # noqa: F401 - the checkout onto the path

from commands.begin.command import new_reproduction
from commands.entry import parser, run

OPTIONS = {
    "--name": "of the config (default: the folder's)",
    "--classes": "number of classes of the label",
    "--torch": "MODULE:CALLABLE that returns the reference (default: found in DIR, else a stub)",
    "--paddle": "MODULE:CALLABLE that returns the port (likewise)",
    "--checkpoint": "the authors' file (default: the only one in DIR)",
    "--input-shape": '"N C H W" (default: "2 3 64 64")',
    "--data": "own, or a data set of ours (default: own)",
    "--loss": "own, or one of ours (default: own)",
    "--optimizer": "own, or one of ours (default: own)",
    "--schedule": "own, or one of ours (default: poly)",
    "--metric": "own, or task: mIoU (default: task)",
    "--augmentation": "own, or none (default: none)",
}


def main() -> int:
    """Ask, write, check, and say what is next."""
    return new_reproduction(_parse())


def _parse() -> argparse.Namespace:
    command = parser(__doc__ or "", "python tools/new_reproduction.py my_net --classes 19")
    command.add_argument("dir", type=Path, metavar="DIR", help="folder, new or not")
    for name, text in OPTIONS.items():
        command.add_argument(name, metavar="X", help=text)
    command.add_argument("--yes", action="store_true", help="ask nothing: take the defaults")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    return command.parse_args()


if __name__ == "__main__":
    run(main, apart=True)
