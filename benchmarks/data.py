"""Training samples from 1024x2048 PNGs on one core: STDC's recipe against PaddleSeg's transforms.

Reading, augmentation to a crop of 512x1024 and normalisation, in processor time a sample. The ways
take turns, sample by sample, and the median counts. Rendered streets, enlarged, with noise, until
a photo has as many bytes as Cityscapes' have. Behind it, samples a second by processes that read.

PaddleSeg (pip install paddleseg, in an environment of its own: it wants another OpenCV) is left out
where it is not installed.

    python benchmarks/data.py                   # a minute
    python benchmarks/data.py --samples 40 --workers 0 1 2 4 8 --json
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# ruff: noqa: E402 - the checkout is on the path only now
import cv2
import numpy as np
from PIL import Image

from common.data import SegmentationDataset
from common.data.sets.cityscapes import Cityscapes
from common.data.toy import write_toy_cityscapes
from common.data.transforms.images import Normalisation
from common.data.transforms.recipes import STDC_SCALES, custom, stdc
from common.training.loader import load_batches

SIZE_HW, CROP_HW, FRAMES, SMALLER = (1024, 2048), (512, 1024), 4, 4
NOISE = 2.0  # of 255
MOST, LEAST = 1.3, 1.2  # the authors' order against PaddleSeg; against the fast one
Sample = Callable[[int], Any]


def main() -> int:
    """Print milliseconds and ratios; exit 1 where a ratio is not what is asked for."""
    args = _parse()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        source = frames(Path(folder) / "streets")
        ways = _ways(source)
        times = {name: median(row) * 1e3 for name, row in measured(ways, args.samples).items()}
        rates = {count: rate(source, count, args.samples) for count in args.workers}
    ours, peer, fast = (times.get(name) for name in ("authors", "PaddleSeg", "fast"))
    assert ours is not None
    assert fast is not None
    ratios = {"PaddleSeg": None if peer is None else ours / peer, "fast": ours / fast}
    good = ours / fast >= LEAST and (peer is None or ours / peer <= MOST)
    result = {"ms": times, "ratios": ratios, "samples_per_s": rates, "good": good}
    print(json.dumps(result, indent=2) if args.json else _told(result))
    return 0 if good else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=16, help="of each way")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--folder", help="where the frames are written while this runs")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args()


def frames(folder: Path) -> Cityscapes:
    """Write frames of `SIZE_HW` and return them as a set, whose labels are train ids."""
    size = (SIZE_HW[0] // SMALLER, SIZE_HW[1] // SMALLER)
    write_toy_cityscapes(folder, train=FRAMES, val=1, size_hw=size)
    source = Cityscapes(folder, "train")
    for index, frame in enumerate(source.frames):
        image, label = source.read(index)
        whole = image.resize(SIZE_HW[::-1], Image.Resampling.BICUBIC)
        noise = np.random.default_rng(index).normal(0, NOISE, (*SIZE_HW, 3))
        noisy = np.clip(np.asarray(whole) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(frame.image)
        train_ids = Path(str(frame.label).replace("labelIds", "labelTrainIds"))
        label.resize(SIZE_HW[::-1], Image.Resampling.NEAREST).save(train_ids)
    return Cityscapes(folder, "train", labels="labelTrainIds")


def _ways(source: Cityscapes) -> dict[str, Sample]:
    """Return by name what makes sample number `key`."""
    fill = Normalisation().mean_color
    like_stdc: dict[str, Any] = {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "flip": 0.5}
    orders = {
        "authors": stdc(CROP_HW, fill),
        "fast": stdc(CROP_HW, fill, order="fast"),
        "custom, fast": custom(CROP_HW, fill, order="fast", scales=STDC_SCALES, **like_stdc),
    }
    ways: dict[str, Sample] = {}
    for name, steps in orders.items():
        ways[name] = _sampled(SegmentationDataset(source, steps))
    ways["reading alone"] = lambda key: source.read(key % FRAMES)
    peer = _paddleseg(source)
    return {**ways, "PaddleSeg": peer} if peer else ways


def _sampled(dataset: SegmentationDataset) -> Sample:
    return lambda key: dataset.sample(key, key % FRAMES)


def _paddleseg(source: Cityscapes) -> Sample | None:
    """Return the transforms of its STDC configs (configs/stdcseg); None where it is not there."""
    try:
        from paddleseg import transforms as steps
    except ImportError as error:
        print(f"PaddleSeg is left out: {error}", file=sys.stderr)
        return None
    chain = steps.Compose(
        [
            steps.ResizeStepScaling(0.125, 1.5, 0.125),
            steps.RandomPaddingCrop(CROP_HW[::-1]),
            steps.RandomHorizontalFlip(),
            steps.RandomDistort(brightness_range=0.5, contrast_range=0.5, saturation_range=0.5),
            steps.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )

    def sample(key: int) -> Any:
        frame = source.frames[key % FRAMES]
        paths = {"img": str(frame.image), "label": str(frame.label)}
        return chain({**paths, "gt_fields": ["label"]})

    return sample


def measured(ways: dict[str, Sample], samples: int) -> dict[str, list[float]]:
    """Return seconds of processor time a sample, by way."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for key in range(-1, samples):  # the first of each warms up
        for name, sample in ways.items():
            begin = time.process_time()
            sample(max(key, 0))
            if key >= 0:
                found[name].append(time.process_time() - begin)
    return found


def rate(source: Cityscapes, workers: int, samples: int) -> float:
    """Return samples a second of the authors' order, read by so many processes, once they run."""
    dataset = SegmentationDataset(source, stdc(CROP_HW, Normalisation().mean_color))
    batches = load_batches(dataset, _plan(samples + 2 * max(workers, 1)), workers)
    for _ in range(max(workers, 1)):
        next(batches)
    begin = time.perf_counter()
    count = sum(len(batch.image) for batch in batches)
    return count / (time.perf_counter() - begin)


def _plan(count: int) -> Iterator[list[tuple[int, int]]]:
    return ([(key, key % FRAMES)] for key in range(count))


def _told(result: dict[str, Any]) -> str:
    lines = [f"{name:14} {value:6.1f} ms a sample" for name, value in result["ms"].items()]
    rates = ", ".join(f"{n}: {rate:.1f}" for n, rate in result["samples_per_s"].items())
    lines.append(f"samples a second by reading processes, of {os.cpu_count()} cores: {rates}")
    ratios, told = result["ratios"], []
    if ratios["PaddleSeg"] is not None:
        told.append(f"{ratios['PaddleSeg']:.2f} x the time of PaddleSeg's (at most {MOST})")
    told.append(f"{ratios['fast']:.2f} x that of order: fast (at least {LEAST})")
    lines.append(f"ours           {', '.join(told)}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
