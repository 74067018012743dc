"""Cuts the picture of the READMEs out of a run of `make demo`: two of its four rows, small.

python docs/cut_predictions.py runs/stdc1_toy_20261121-092703
"""

import argparse
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
PICTURE = ROOT / "docs" / "images" / "predictions.png"
ROWS, HEADING, COLOURS = 4, 25, 256  # pixels; what commands/reproduce/pictures.py draws


def main() -> None:
    """Write docs/images/predictions.png."""
    from common.files import whole_file

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run", type=Path, help="folder of the run")
    options = arguments.parse_args()
    image = Image.open(options.run / "predictions.png").convert("RGB")
    row = (image.height - HEADING) // ROWS
    kept = image.crop((0, 0, image.width, HEADING + 2 * row))
    kept = kept.resize((kept.width * 3 // 4, kept.height * 3 // 4), Image.Resampling.LANCZOS)
    with whole_file(PICTURE) as draft:
        kept.quantize(COLOURS, dither=Image.Dither.NONE).save(draft, "PNG", optimize=True)


if __name__ == "__main__":
    main()
