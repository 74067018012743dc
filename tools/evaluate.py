"""Score trained weights on a config's validation set, as a paper or an evaluation server does."""

import _checkout  # noqa: F401 - the checkout onto the path

from commands.entry import run
from commands.evaluate.command import evaluate, parse

EXAMPLE = """python tools/evaluate.py configs/stdc1.yml --weights model_maxmIOU50.pth
  python tools/evaluate.py configs/pspnet50.yml --weights best.pdparams --scales 0.75,1,1.25 --flip
  python tools/evaluate.py configs/stdc1.yml --weights best.pdparams --save-ids ids"""


def main() -> int:
    """Evaluate and print the scores."""
    return evaluate(parse(__doc__ or "", EXAMPLE))


if __name__ == "__main__":
    run(main, apart=True)
