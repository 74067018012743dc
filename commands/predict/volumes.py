"""Predictions of volumes: a file of the same kind and geometry, and a picture of three slices."""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from commands.parser import complain
from commands.predict import painting
from commands.predict.pipeline import Times
from commands.predict.sources import SUFFIXES, Listed
from commands.subjects.named.frameworks import parts_of
from common.errors import UserError
from common.evaluation.volumetric import PaintVolumes
from common.files import make_folder, whole_file
from common.settings.run import Settings
from common.settings.volumes import VOLUMETRIC, VolumeKeys
from common.terminal import counting
from common.volumes.files import read_volume, stem_of, suffix_of, write_volume
from common.volumes.patches import starts
from common.volumes.pictures import stretched
from common.volumes.sliding import Sliding, sliding_of
from common.volumes.stored import StoredVolume
from common.words.language import phrase
from common.words.texts import error_said

ENDING, PICTURE = "_predictions", "_slices.png"  # the first as pytorch3dunet/unet3d/predictor.py
WIDE = 720  # pixels that three slices have about, where a volume is small
Tell = Callable[[str], None]


@dataclass(frozen=True)
class VolumeItem:
    """A volume, and where its results go. outputs: by kind, "ids" and "sheet"."""

    path: Path
    outputs: dict[str, Path]


@dataclass(frozen=True)
class VolumeNet:
    """What predicts. inference: asked by arrays. told: of its weights, in one line."""

    inference: Any
    told: str


@dataclass
class VolumeRun:
    """Predicts every volume, and keeps what became of each; see `commands.predict.command`."""

    options: argparse.Namespace
    settings: Settings
    tell: Tell
    listed: Listed = field(default_factory=Listed)
    rows: dict[Path, dict[str, Any]] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    times: Times = field(default_factory=Times)

    def __post_init__(self) -> None:
        self.items = items_of(self.options, self.listed)
        self.model = _net(self.options, self.settings, self.tell)
        self.sliding = sliding_of(self.settings)
        self.paint = PaintVolumes(self.settings, self.settings.classes().colors)

    @property
    def failed(self) -> list[dict[str, Any]]:
        """What could not be predicted."""
        return [row for row in self.rows.values() if "error" in row]

    def go(self) -> None:
        """Predict one volume after the other; an error of one is told, and the next one follows."""
        begin = time.perf_counter()
        for item in self.items:
            try:
                self.rows[item.path] = self._one(item)
            except UserError as error:
                said = str(error) if str(item.path) in str(error) else f"{item.path}: {error}"
                self.rows[item.path] = {"path": str(item.path), "error": said}
                complain(phrase("failed: {error}", error=error_said(said)))
        self.times.whole = time.perf_counter() - begin
        self.times.parts["export"] = 0.0

    def _one(self, item: VolumeItem) -> dict[str, Any]:
        data = self.settings.data
        assert isinstance(data, VolumeKeys)
        with self._timed("read"):
            stored = read_volume(item.path, data.raw_path)
            require_channels(self.settings, item.path, stored)
        with self._timed("net"):
            found = self._predicted(item.path, stored.array)
        with self._timed("write"):
            self._write(item, stored, found)
        return {
            "path": str(item.path),
            "size": list(stored.array.shape),
            "classes": self._shares(found),
            "outputs": {kind: str(path) for kind, path in item.outputs.items()},
        }

    def _predicted(self, path: Path, raw: np.ndarray) -> np.ndarray:
        """Return classes [D, H, W] or masks [C, D, H, W], uint8; patches are normalised alone."""
        data = self.settings.data
        assert isinstance(data, VolumeKeys)
        normalise = data.normalisation.build()
        sliding = self.sliding
        if sliding.each_patch is None:
            numbers = normalise.numbers(raw)
            sliding = replace(sliding, each_patch=lambda part: normalise.apply(part, numbers))
        quiet = self.options.quiet or self.options.json
        with counting("patches", patches_in(sliding, raw.shape), quiet) as count:
            watched = replace(sliding, watch=lambda done, total: count(done))
            parts = [part for _, part in watched.classes(self.model.inference, raw, str(path))]
        return np.concatenate(parts, 1 if sliding.masks else 0)

    def _write(self, item: VolumeItem, stored: StoredVolume, found: np.ndarray) -> None:
        for path in item.outputs.values():
            make_folder(path.parent)
        if ids := item.outputs.get("ids"):
            write_volume(ids, found, stored.geometry)
        if sheet := item.outputs.get("sheet"):
            grey = enlarged((255 * stretched(stored.array)).astype(np.uint8))
            painted = Image.fromarray(enlarged(self.paint.picture(found)))
            classes = self.settings.classes()
            lines = [
                (classes.names.index(name), f"{name}  {100 * share:.1f} %")
                for name, share in self._shares(found).items()
            ]
            picture = painting.side_by_side(grey, painted, lines, classes.colors)
            with whole_file(sheet) as draft:
                painting.save(picture, draft, sheet.suffix)

    def _shares(self, found: np.ndarray) -> dict[str, float]:
        """Return the share of the voxels by class, or mask, that there is, the largest first."""
        names = self.settings.classes().names
        if self.sliding.masks:
            shares = [float((mask == 1).mean()) for mask in found]
        else:
            counts = np.bincount(found.ravel(), minlength=len(names))
            shares = (counts / found.size).tolist()
        pairs = sorted(zip(names, shares, strict=True), key=lambda pair: -pair[1])
        return {name: round(share, 6) for name, share in pairs if share}

    def _timed(self, part: str) -> Any:
        return _Timed(self.times, part)


class _Timed:
    def __init__(self, times: Times, part: str) -> None:
        self.times, self.part = times, part

    def __enter__(self) -> None:
        self.begin = time.perf_counter()

    def __exit__(self, *raised: object) -> None:
        self.times.parts[self.part] += time.perf_counter() - self.begin


def enlarged(picture: np.ndarray) -> np.ndarray:
    """Return a picture [h, w, 3] of small volumes with each pixel repeated."""
    times = max(WIDE // picture.shape[1], 1)
    return picture.repeat(times, 0).repeat(times, 1)


def patches_in(sliding: Sliding, shape: Sequence[int]) -> int:
    """Return how many patches a volume [C, D, H, W] is seen by; 0 of one that is smaller."""
    if any(size < side for size, side in zip(shape[1:], sliding.patch, strict=True)):
        return 0
    axes = zip(shape[1:], sliding.patch, sliding.stride, strict=True)
    depth, height, width = (len(starts(*axis)) for axis in axes)
    return depth * height * width


def require_channels(settings: Settings, path: Path, stored: StoredVolume) -> None:
    """Raise UserError where a volume has other channels than a net of the table takes."""
    if settings.model.kind != "row":
        return
    takes, found = settings.model.options.get("in_channels", 1), len(stored.array)
    if found != takes:
        raise UserError(
            f"{path} has {found} channels, and {settings.model.name} takes {takes}: is it of this "
            "net's kind of volumes?"
        )


def of_volumes(settings: Settings) -> bool:
    """Tell whether a config's net takes volumes."""
    return settings.model.task == VOLUMETRIC


def _net(options: argparse.Namespace, settings: Settings, tell: Tell) -> VolumeNet:
    from commands.evaluate.nets import Running, asked

    running = Running(options.device, options.engine or "auto", options.threads, tell)
    net = asked(parts_of(settings, options.framework), options.weights, running)
    return VolumeNet(net.inference, net.loaded.told or str(options.weights))


def items_of(options: argparse.Namespace, listed: Listed) -> list[VolumeItem]:
    """Return the volumes that are given, those of folders too, with where their results go.

    Raises UserError where there is none, results would go over a file, or an option is of photos.
    """
    kinds = [kind for kind in options.write if kind != "overlay"]
    if options.ids_at == "net" or (options.write != tuple(SUFFIXES) and "overlay" in options.write):
        wrong = "--ids-at net" if options.ids_at == "net" else "--write overlay"
        raise UserError(
            f"{wrong} is of photos: of a volume ids (a volume of classes) and sheet (three slices) "
            "are written"
        )
    items = []
    for path, stem in _found(options.photos, listed):
        own = options.output / stem
        table = {"ids": f"{ENDING}{suffix_of(path)}", "sheet": PICTURE}
        items.append(
            VolumeItem(path, {kind: own.with_name(f"{own.name}{table[kind]}") for kind in kinds})
        )
    if not items:
        raise UserError(f"no volume in {', '.join(map(str, options.photos))}")
    _check(items, options.force)
    return items


def _found(given: Sequence[Path], listed: Listed) -> Iterator[tuple[Path, Path]]:
    """Yield files of volumes, and where their results go below the folder of results."""
    for place in given:
        if place.is_dir():
            for path in sorted(place.rglob("*")):
                if not path.is_file() or path.name.startswith("."):
                    continue
                if suffix_of(path) and not stem_of(path).endswith(ENDING):
                    yield path, path.relative_to(place).with_name(stem_of(path))
                else:
                    listed.skipped.append((path, phrase("no volume")))
        elif place.is_file() and suffix_of(place):
            yield place, Path(stem_of(place))
        else:
            raise UserError(f"{place}: no such volume or folder of volumes")


def _check(items: Sequence[VolumeItem], force: bool) -> None:
    outputs = [path for item in items for path in item.outputs.values()]
    if twice := {path for path in outputs if outputs.count(path) > 1}:
        raise UserError(f"{min(twice)} would be written twice: give these volumes one by one")
    there = [path for path in outputs if path.exists()]
    if there and not force:
        more = f" and {len(there) - 1} more of the results" if len(there) > 1 else ""
        raise UserError(
            f"{there[0]}{more} are there already; give another --output, or --force to write them "
            "anew"
        )
