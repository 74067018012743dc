"""Aligns every row of the table in full, and keeps the figures for the README's table of nets.

Each row in a process of its own: forward in eval and train mode, backward in train mode, at its
smallest legal input. Writes docs/proof/nets.json; exit 1 if a row is not aligned.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
FIGURES = ROOT / "docs" / "proof" / "nets.json"
SEEDS = 2
MORE_SEEDS = {"unet": 20}
# Padding by 100 makes the smallest image large enough, and 134 million parameters are slow.
INPUTS = dict.fromkeys(("fcn32s", "fcn16s", "fcn8s", "fcn8s_atonce", "fcn8s_vgg16bn"), (2, 3, 1, 1))
# Nets of one image size: a smaller one, which shortens their tables of positions and nothing else.
SMALL_IMAGE = dict.fromkeys(
    ("axial_r26s", "axial_r50s", "axial_r50m", "axial_r50l", "max_deeplab_s"), 64
)
# Detectors resize their images: to small ones here, with boxes on all levels.
SMALL_BOXES = {
    "min_size": 64,
    "max_size": 128,
    "anchor_sizes": (8, 12, 16, 24, 32),
    "canonical_scale": 9,
    "rpn_pre_nms_top_n_test": 100,
    "rpn_post_nms_top_n_test": 60,
    "box_score_thresh": 0.2,
}
DETECTORS = ("mask_rcnn_r50_fpn", "mask_rcnn_r50_fpn_v2", "mask_rcnn_r50_fpn_d2")
OBJECTS = ((4, 6, 30, 34), (50, 10, 80, 44), (34, 40, 48, 52), (60, 46, 86, 62))  # boxes


def measure(row: str, seeds: int) -> dict[str, Any]:
    """Return the worst relative errors of `row` over `seeds`, and what was not aligned.

    `forward` and `backward` are those of exact kernels, `inexact` those of the kernels that hold a
    part in float32 (align/judge/kernels.py), `output` the whole net's.
    """
    from commands.subjects.inputs import seeded_input
    from commands.subjects.rows import seeded_pair
    from common.pairs import IMAGE_SIZE, get_pair

    pair, options = get_pair(row), {}
    if row in SMALL_IMAGE:
        options = {IMAGE_SIZE: SMALL_IMAGE[row]}
    if row in DETECTORS:
        options = {**SMALL_BOXES, "num_classes": 5}
    shape = INPUTS.get(row, pair.input_of(options))
    worst = dict.fromkeys(("forward", "backward", "inexact", "output"), 0.0)
    found: dict[str, Any] = {"input": shape, "seeds": seeds, "tensors": 0, "differing": []}
    for seed in range(seeds):
        torch_net, paddle_net = seeded_pair(row, seed, **options)
        make = detector_reports if row in DETECTORS else reports
        for report in make(torch_net, paddle_net, seeded_input(shape, seed)):
            found["tensors"] += len(report.calls)
            found["differing"] += [] if report.aligned else [f"seed {seed}: {report.verdict}"]
            for call in report.calls:
                if call.verdict != "equal":
                    continue
                kind = "inexact" if call.kernels else report.stage
                worst[kind] = max(worst[kind], call.relative_error)
                if not call.layer and call.at.kind == "output":
                    worst["output"] = max(worst["output"], call.cumulative or 0.0)
    return found | worst | {"date": date.today().isoformat()}


def reports(torch_net: Any, paddle_net: Any, image: Any) -> Iterator[Any]:
    """Yield the reports of one pair of nets."""
    from align import align_backward, align_forward

    for train in (False, True):
        yield align_forward(torch_net, paddle_net, [image], train=train)
    yield align_backward(torch_net, paddle_net, [image])


def detector_reports(torch_net: Any, paddle_net: Any, image: Any) -> Iterator[Any]:
    """Yield the reports of one pair of detectors, which compute their losses themselves."""
    import numpy as np

    from align import align_backward, align_forward
    from paddle_impl.losses import LOSSES as PORTS
    from torch_ref.losses import LOSSES as REFERENCES

    masks = np.zeros([len(OBJECTS), *image.shape[2:]], np.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, OBJECTS, strict=True):
        mask[y0:y1, x0:x1] = 1
    boxes, labels = np.array(OBJECTS, np.float32), np.array([1, 3, 2, 4], np.int64)
    images = list(0.5 + 0.2 * image)
    batch = [images, [{"boxes": boxes, "labels": labels, "masks": masks}]]
    yield align_forward(torch_net, paddle_net, [images], train=False)
    yield align_forward(torch_net, paddle_net, batch, train=True)
    criteria = REFERENCES["mask_rcnn"](), PORTS["mask_rcnn"]()
    yield align_backward(torch_net, paddle_net, [*batch, np.zeros(1)], *criteria)


def main() -> int:
    """Measure all rows, or some, and keep their figures."""
    from common.documents import write_text
    from common.pairs import PAIRS

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", nargs="+", choices=list(PAIRS), default=list(PAIRS))
    arguments.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.one:
        row = options.rows[0]
        print(json.dumps(measure(row, MORE_SEEDS.get(row, SEEDS))))
        return 0
    good, tensors = 0, 0
    for row in options.rows:
        start = time.monotonic()
        command = [sys.executable, __file__, "--one", "--rows", row]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        figures = json.loads(done.stdout.splitlines()[-1])
        held = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
        held[row] = figures
        ordered = {name: held[name] for name in PAIRS if name in held}
        write_text(FIGURES, json.dumps(ordered, indent=1) + "\n")
        good += not figures["differing"]
        tensors += figures["tensors"]
        print(
            f"{row}: forward {figures['forward']:.1e}, backward {figures['backward']:.1e}, "
            f"inexact kernels {figures['inexact']:.1e}, {time.monotonic() - start:.0f} s",
            *figures["differing"],
            sep="\n  ",
            file=sys.stderr,
        )
    print(f"{good} of {len(options.rows)} rows aligned, {tensors} tensors")
    return int(good < len(options.rows))


if __name__ == "__main__":
    sys.exit(main())
