"""Train a few steps, evaluate, export and predict on a lite data set: one verdict for the chain."""

import _checkout  # noqa: F401 - the checkout onto the path

from commands.chain.command import chain, parse
from commands.entry import run


def main() -> int:
    """Run the chain and say how it ended."""
    return chain(parse(__doc__ or "", "python tools/chain.py configs/stdc1.yml"))


if __name__ == "__main__":
    run(main, apart=True)
