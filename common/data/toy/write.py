"""Writing toy sets: all of one or nothing, and never over anything that is not a toy set."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.data.sets.cityscapes import open_split
from common.data.toy import coco
from common.data.toy.render import Rendering, render
from common.data.toy.shapes import render_shapes, write_shapes
from common.documents import json_in
from common.errors import ConfigError, DataError, UserError
from common.files import whole_folder
from common.panoptic.sets.cityscapes import INSTANCES, files_of
from common.panoptic.sets.write import write_annotations, write_maps

MARKER = "toy_cityscapes.json"
VERSION = 1  # of the pictures: the same seed and version give the same bytes
CITIES = {"train": ("toyburg", "toydorf", "toyhafen"), "val": ("toystadt",)}
SPLITS = tuple(CITIES)
SMALLEST = 32  # pixels a side
Progress = Callable[[int, int], None] | None


@dataclass(frozen=True)
class ToyLayout:
    """How a toy set lies on disk.

    title: what messages call it. marker: the file that says that it is one. folders: what it has
    beside. write: (root, about, progress) writes its frames. maker: the command that made it.
    """

    title: str
    marker: str
    folders: tuple[str, ...]
    write: Callable[[Path, dict[str, Any], Progress], None]
    maker: str = "make_toy_cityscapes"


def write_toy_cityscapes(
    folder: str | Path,
    *,
    layout: str = "cityscapes",
    train: int = 60,
    val: int = 20,
    size_hw: tuple[int, int] = (256, 512),
    seed: int = 0,
    force: bool = False,
    progress: Progress = None,
) -> dict[str, Any]:
    """Write a toy Cityscapes to `folder` and return what its marker file holds.

    The set is made in a sibling folder and renamed, so `folder` is complete or as it was. Frame k
    of a split depends on (seed, split, k, size) only.

    Args:
        folder: absent or empty; with `force` also an earlier toy set, which is replaced.
        layout: a row of `LAYOUTS`; "coco_panoptic" writes the same streets as COCO panoptic has
            them, "coco_instances" discs, squares and triangles as COCO has instances.
        train, val: number of frames.
        size_hw: (height, width) in pixels.
        seed: at least 0.
        force: replace an earlier toy set.
        progress: called with (frames written, frames in all).

    Raises:
        ConfigError: numbers or sizes that make no sense, or an unknown layout.
        DataError: `folder` holds something else, or cannot be written.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"layout: expected {' or '.join(LAYOUTS)}, got {layout!r}")
    chosen = LAYOUTS[layout]
    _require_sensible(chosen, train, val, size_hw, seed)
    target = Path(folder).absolute()
    require_replaceable(chosen, target, force)
    about = {
        "made_by": "make_toy_cityscapes",
        "version": VERSION,
        "seed": seed,
        "train": train,
        "val": val,
        "height": size_hw[0],
        "width": size_hw[1],
    }
    try:
        with whole_folder(target) as draft:
            chosen.write(draft, about, progress)
            (draft / chosen.marker).write_text(json.dumps(about, indent=2) + "\n")
    except UserError as error:
        raise DataError(f"{chosen.title}: {error}") from error
    return about


def _require_sensible(
    layout: ToyLayout, train: int, val: int, size_hw: tuple[int, int], seed: int
) -> None:
    if train < 1 or val < 1 or min(size_hw) < SMALLEST or seed < 0:
        raise ConfigError(
            f"{layout.title}: expected at least one train and one val frame of at least {SMALLEST} "
            f"pixels a side and a seed of at least 0, got train {train}, val {val}, "
            f"size {size_hw[1]}x{size_hw[0]}, seed {seed}"
        )


def _write_cityscapes(root: Path, about: dict[str, Any], progress: Progress) -> None:
    size_hw = (about["height"], about["width"])
    done, total = 0, about["train"] + about["val"]
    for split, cities in CITIES.items():
        for index in range(about[split]):
            city = cities[index % len(cities)]
            # Every frame is the 20th of its snippet, as in the real set.
            name = f"{city}_{index // len(cities):06d}_000019"
            _write_frame(root, split, city, name, render(about["seed"], split, index, size_hw))
            done += 1
            if progress:
                progress(done, total)
        file, maps = files_of(root, split)
        maps.mkdir()
        write_annotations(write_maps(open_split(root, split, INSTANCES)[1], maps), file)


def _write_frame(root: Path, split: str, city: str, name: str, frame: Rendering) -> None:
    images = root / "leftImg8bit" / split / city
    labels = root / "gtFine" / split / city
    for folder in (images, labels):
        folder.mkdir(parents=True, exist_ok=True)
    _save(frame.image, images / f"{name}_leftImg8bit.png")
    _save(frame.label_ids, labels / f"{name}_gtFine_labelIds.png")
    _save(frame.instance_ids, labels / f"{name}_gtFine_instanceIds.png")
    _save(frame.color, labels / f"{name}_gtFine_color.png")
    (labels / f"{name}_gtFine_polygons.json").write_text(json.dumps(frame.polygons) + "\n")


def _save(pixels: np.ndarray, path: Path) -> None:
    Image.fromarray(pixels).save(path, compress_level=4)


def _write_coco_panoptic(root: Path, about: dict[str, Any], progress: Progress) -> None:
    seed, size_hw = about["seed"], (about["height"], about["width"])
    done, total = 0, about["train"] + about["val"]
    for place, split in enumerate(SPLITS):
        listed = []
        for index in range(about[split]):
            number = len(SPLITS) * index + place + 1  # no image of one split is one of the other
            frame = render(seed, split, index, size_hw)
            listed.append(coco.write_frame(root, split, number, frame, seed))
            done += 1
            if progress:
                progress(done, total)
        coco.write_lists(root, split, listed)


def _write_coco_instances(root: Path, about: dict[str, Any], progress: Progress) -> None:
    size_hw, done = (about["height"], about["width"]), 0
    for place, split in enumerate(SPLITS):
        frames = []
        for index in range(about[split]):
            number = len(SPLITS) * index + place + 1  # no image of one split is one of the other
            frames.append((number, render_shapes(about["seed"], place, index, size_hw)))
            done += 1
            if progress:
                progress(done, about["train"] + about["val"])
        write_shapes(root, split, frames)


LAYOUTS = {
    "cityscapes": ToyLayout("toy Cityscapes", MARKER, ("leftImg8bit", "gtFine"), _write_cityscapes),
    "coco_panoptic": ToyLayout(
        "toy COCO panoptic",
        "toy_coco_panoptic.json",
        ("train2017", "val2017", "annotations"),
        _write_coco_panoptic,
    ),
    "coco_instances": ToyLayout(
        "toy COCO instances",
        "toy_coco_instances.json",
        ("train2017", "val2017", "annotations"),
        _write_coco_instances,
    ),
}


def require_replaceable(layout: ToyLayout, target: Path, force: bool) -> None:
    """Raise DataError unless a toy set may be written there; `force`: over an earlier one."""
    if not os.path.lexists(target):
        return
    if not target.is_dir() or target.is_symlink():
        raise DataError(f"{layout.title}: {target} is there and is no folder; choose another DIR")
    if not any(target.iterdir()):
        return
    if not _is_toy(layout, target):
        raise DataError(
            f"{layout.title}: {target} holds something else than a toy set ({layout.marker}, "
            f"{' and '.join(layout.folders)} alone) and is never replaced; choose another DIR"
        )
    if not force:
        raise DataError(
            f"{layout.title}: {target} holds a toy set already; choose another DIR, or replace it "
            "with --force"
        )


def _is_toy(layout: ToyLayout, folder: Path) -> bool:
    """A marker of ours, and nothing that this command would not have written."""
    try:
        about = json_in(folder / layout.marker)
    except (OSError, ValueError, UserError):
        return False
    return (
        isinstance(about, dict)
        and about.get("made_by") == layout.maker
        and {path.name for path in folder.iterdir()} <= {layout.marker, *layout.folders}
    )
