"""Draws the picture of a report page in the READMEs: STDC2-Seg, broken on purpose in three places.

Needs Chromium. python docs/draw_report.py
"""

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
PICTURE = ROOT / "docs" / "images" / "report.png"
WIDTH, HEIGHT, COLOURS = 1120, 1475, 128


def write_page(path: Path) -> None:
    """Write the page of a forward run with three faults."""
    from align import align_forward
    from align.report import write
    from commands.subjects.inputs import seeded_input
    from commands.subjects.rows import seeded_pair
    from tests.faults.first import STDC_FAULTS, attribute

    torch_net, paddle_net = seeded_pair("stdc2_seg", 0)
    pool = attribute("cp.backbone.features.6.skip", "exclusive", True)
    faults = [pool, STDC_FAULTS["epsilon of a head"], STDC_FAULTS["concat order"]]
    with ExitStack() as stack:
        for fault in faults:
            stack.enter_context(fault(paddle_net))
        report = align_forward(torch_net, paddle_net, [seeded_input((2, 3, 64, 96), 0)], train=True)
    report.settings["model"] = "stdc2_seg"
    write.write_page(report, path)


def main() -> None:
    """Write docs/images/report.png."""
    from common.files import whole_file

    with tempfile.TemporaryDirectory() as folder:
        page, shot = Path(folder, "report.html"), Path(folder, "report.png")
        write_page(page)
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += ["--lang=en", f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={shot}"]
        subprocess.run([*command, page.as_uri()], check=True, capture_output=True)
        with Image.open(shot) as image, whole_file(PICTURE) as draft:
            kept = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
            kept.save(draft, "PNG", optimize=True)


if __name__ == "__main__":
    main()
