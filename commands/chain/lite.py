"""A lite data set of eight images, and a config that trains a few steps of a recipe on it."""

from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from common.data.classes import bit_palette
from common.files import make_folder, whole_file, whole_folder
from common.randomness import generator
from common.settings.data import OwnData
from common.settings.run import Settings

IMAGES = 8  # half of them for training, half for validation
TILES = 4  # rectangles of one class each, in either direction
LARGER = 1.25  # than the crop
KEPT = ("normalisation", "augmentation", "val_short_side", "crop_hw")  # of the config's data


def write_lite(settings: Settings, folder: Path, steps: int) -> Path:
    """Write `data/` and `chain.yml` to `folder`; return the path of the config.

    A config whose data are the user's own callables keeps them: what they return is theirs to say.
    """
    small = settings.resized(settings.reproduce.fast_shape)
    tree = small.model_dump(mode="json", exclude_none=True)
    tree["train"] |= {"iterations": steps, "log_interval": 1, "checkpoint_interval": 0}
    tree["train"]["eval_interval"] = steps if settings.schedule.name == "plateau" else 0
    tree["evaluate"] |= {"batch_size": 1, "absent": "skip"}
    if settings.evaluate.window_hw:
        tree["evaluate"]["window_hw"] = small.data.crop_hw or settings.evaluate.window_hw
    tree["weights"] = {}
    tree["schedule"] |= {"warmup_steps": 1} if "warmup_steps" in tree["schedule"] else {}
    tree["schedule"].pop("max_steps", None)
    if not isinstance(settings.data, OwnData):
        classes = settings.model.num_classes
        write_images(folder / "data", small.data.crop_hw or (64, 64), classes, settings.seed)
        tree["data"] = {key: tree["data"][key] for key in KEPT if key in tree["data"]}
        tree["data"] |= {
            "dataset": "list",
            "root": str((folder / "data").resolve()),
            "class_file": "labels.txt",
            "batch_size": small.data.batch_size,
        }
    path = folder / "chain.yml"
    with whole_file(path) as draft:
        draft.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return path


def write_images(folder: Path, crop_hw: tuple[int, int], classes: int, seed: int) -> None:
    """Write eight images of coloured rectangles, their labels, two lists and the class names."""
    colors, rng = bit_palette(classes), generator(seed, "chain")
    height, width = (int(side * LARGER) for side in crop_hw)
    make_folder(folder.parent)
    with whole_folder(folder) as draft:
        lists: dict[str, list[str]] = {"train": [], "val": []}
        for number in range(IMAGES):
            tiles = (np.arange(TILES * TILES) + number * TILES * TILES) % classes
            label = _stretched(rng.permutation(tiles).reshape(TILES, TILES), height, width)
            noise = rng.normal(0, 12, (height, width, 3))
            image = (0.7 * colors[label] + 50 + noise).clip(0, 255).astype(np.uint8)
            pair = f"images/{number}.png", f"labels/{number}.png"
            for name, array in zip(pair, (image, label.astype(np.uint8)), strict=True):
                make_folder((draft / name).parent)
                Image.fromarray(array).save(draft / name)
            lists["train" if number < IMAGES // 2 else "val"].append(" ".join(pair))
        for split, lines in lists.items():
            (draft / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        names = [f"class_{index}" for index in range(classes)]
        (draft / "labels.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


def _stretched(tiles: np.ndarray, height: int, width: int) -> np.ndarray:
    rows = np.arange(height) * TILES // height
    columns = np.arange(width) * TILES // width
    return tiles[rows[:, None], columns]
