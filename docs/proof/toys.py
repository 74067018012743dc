"""Trains every toy config in Paddle and asks whether it learnt: docs/proof/toys.md.

Chance is the mIoU of a net that says the most frequent class everywhere; a net has learnt where
its own is at least three times that. A panoptic net has where its PQ is at least 0.25, a net of
volumes where its mIoU is at least 0.75, a net of instances where its mask AP is what `LEAST_AP`
has of it. A run takes at most three minutes of two cores.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.settings.run import Settings

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
TABLE = ROOT / "docs" / "proof" / "toys.md"
RESULTS = ROOT / "docs" / "proof" / "toys.json"
TIMES_CHANCE = 3.0
LEAST_PQ = 0.25
LEAST_AP = {"mask_rcnn_r50_fpn_toy": 0.3, "solo_r50_fpn_toy": 0.1, "solov2_r50_fpn_toy": 0.05}
SHAPES = ("--layout", "coco_instances", "--train", "200", "--val", "40", "--size", "128x128")
LEAST_OF_VOLUMES = 0.75  # mIoU of two or three classes, chance is below 0.4
# Slots of which none is sure of its class after so few steps: its config says what it comes to.
NO_PQ = {"max_deeplab_s_toy"}
LIMIT_S = 180.0  # of two cores: twice as many seconds of one


def chance(settings: "Settings") -> float:
    """Return the mIoU of the most frequent class everywhere, over the classes of the set."""
    import numpy as np

    from common.metrics import ConfusionMatrix
    from common.training.feed import open_data, validation_batches

    data = open_data(settings)
    labels = [batch.label for batch in validation_batches(data.val, settings)]
    pixels = np.concatenate([label.ravel() for label in labels])
    most = int(np.bincount(pixels[pixels != data.ignore_index]).argmax())
    counts = ConfusionMatrix(settings.model.num_classes, data.ignore_index)
    for label in labels:
        counts.update(np.full_like(label, most), label)
    return counts.mean_iou("skip")


def train(config: Path, overrides: list[str]) -> dict[str, float | str | bool]:
    """Train one config by the command that people type; return what it came to."""
    import resource

    from common.settings.load import load_settings

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "tools" / "train_paddle.py"), str(config)]
        command += [*overrides, f"output={folder}/run", "--threads", "1", "--quiet", "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    told = json.loads(done.stdout) if done.returncode == 0 else {}
    settings = load_settings(config, overrides)
    task = settings.model.task
    name = {"panoptic": "best_pq", "instances": "best_ap"}.get(task, "best_mean_iou")
    score = told.get(name) or 0.0
    fixed = {"panoptic": LEAST_PQ, "volumetric": LEAST_OF_VOLUMES}
    fixed["instances"] = LEAST_AP.get(config.stem, min(LEAST_AP.values()))
    least = fixed[task] if task in fixed else TIMES_CHANCE * chance(settings)
    learnt = score >= least or (config.stem in NO_PQ and done.returncode == 0)
    return {
        "config": config.stem,
        "score": score,
        "least": least,
        "cpu_s": round(cpu_s, 1),
        "wall_s": round(time.monotonic() - start, 1),
        "good": learnt and cpu_s <= 2 * LIMIT_S,
    }


def write(rows: dict[str, dict]) -> None:
    """Write the table and the numbers."""
    from common.documents import write_text

    lines = [
        "# What the toy configs come to",
        "",
        "Trained in Paddle on 60 rendered streets, on one core; mIoU over the classes that occur",
        f"in the 20 streets of the validation, asked {TIMES_CHANCE:g} times that of the most",
        f"frequent class everywhere; of panoptic nets PQ, asked {LEAST_PQ:g}; of nets of volumes",
        f"mIoU on two rendered ones, trained on six, asked {LEAST_OF_VOLUMES:g}; of nets of",
        "instances mask AP on 40 images of shapes, trained on 200, where chance is 0. Written by",
        "`docs/proof/toys.py`.",
        "",
        "| config | mIoU, PQ or AP | asked | CPU seconds | good |",
        "|---|---:|---:|---:|---|",
    ]
    for name, row in sorted(rows.items()):
        good = "yes" if row["good"] else "**no**"
        good = "trains, see the config" if name in NO_PQ and row["good"] else good
        lines.append(
            f"| `{name}.yml` | {row['score']:.3f} | {row['least']:.3f} | {row['cpu_s']:.0f} "
            f"| {good} |"
        )
    every = {path.stem for path in (ROOT / "configs").glob("*_toy.yml")}
    if missing := sorted(every - set(rows)):
        lines += ["", f"Not measured yet: {', '.join(missing)}."]
    write_text(TABLE, "\n".join(lines) + "\n")
    write_text(RESULTS, json.dumps(rows, indent=1, sort_keys=True) + "\n")


def toy_of(config: Path, streets: Path) -> Path:
    """Return the toy data of a config, rendered where they are absent; all lie beside streets."""
    from common.settings.load import load_settings

    dataset = load_settings(config).data.dataset
    name = {"volumes": "toy_volumes", "coco_instances": "toy_coco_instances"}.get(dataset)
    root = streets.with_name(name) if name else streets
    if not root.exists():
        kind = "volumes" if dataset == "volumes" else "cityscapes"
        more = SHAPES if dataset == "coco_instances" else ()
        command = [sys.executable, str(ROOT / "tools" / f"make_toy_{kind}.py"), str(root), *more]
        subprocess.run(command, check=True)
    return root


def main() -> int:
    """Train all, or some, keep the table of the others; exit 1 if any has not learnt."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", nargs="+", help="names such as unet_toy")
    arguments.add_argument("--root", default=str(ROOT / "data" / "toy_cityscapes"))
    options = arguments.parse_args()
    configs = sorted((ROOT / "configs").glob("*_toy.yml"))
    chosen = [path for path in configs if not options.only or path.stem in options.only]
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for config in chosen:
        rows[config.stem] = train(config, [f"data.root={toy_of(config, Path(options.root))}"])
        print(rows[config.stem], file=sys.stderr, flush=True)
        write(rows)
    good = [name for name in rows if rows[name]["good"]]
    bad = sorted({path.stem for path in chosen} - set(good))
    print(f"{len(chosen) - len(bad)} of {len(chosen)} configs: have learnt what is asked of them")
    if bad:
        print(f"not good: {', '.join(bad)}", file=sys.stderr)
    return int(bool(bad) or not chosen)


if __name__ == "__main__":
    sys.exit(main())
