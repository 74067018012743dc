"""Predict photos of any size and kind, folders of them and videos: id maps and pictures."""

import _checkout  # noqa: F401 - the checkout onto the path

from commands.entry import run
from commands.predict.command import parse, predict

EXAMPLE = """python tools/predict.py configs/stdc1.yml photo.jpg --weights best.pdparams
  python tools/predict.py --model exported photos clip.mp4 --output out
  python tools/predict.py configs/stdc1.yml photos --weights best.pdparams --write ids"""


def main() -> int:
    """Predict, and say what was written where."""
    return predict(parse(__doc__ or "", EXAMPLE))


if __name__ == "__main__":
    run(main, apart=True)
