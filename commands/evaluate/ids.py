"""Predictions as files of ids: those that an evaluation server takes, where the set has one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.data import Batch, SegmentationDataset
from common.errors import UserError
from common.evaluation.evaluator import Evaluator
from common.files import check_outputs, make_folder, whole_file


class IdFiles:
    """Writes the classes of every frame as DIR/<name of the frame>.png, one byte a pixel.

    The bytes are the ids that the set's server takes (`submitted` of its class), else the classes.
    Where the config resizes validation images, the ids are brought back to the original size.

    Raises UserError where a file would be overwritten, or two frames have one name.
    """

    def __init__(self, folder: Path, dataset: SegmentationDataset, force: bool = False) -> None:
        self.folder, self.dataset = folder, dataset
        self.names = names_of(dataset)
        identity = np.arange(256, dtype=np.uint8)
        self.table: np.ndarray = getattr(dataset.source, "submitted", identity)
        self.written = 0
        self._check(force)

    def add(self, classes: np.ndarray) -> None:
        """Write the next frames: int64 [N, H, W]."""
        for frame in classes:
            path = self._path(self.names[self.written])
            image = Image.fromarray(self.table[frame.astype(np.uint8)])
            if self.dataset.transforms:
                size = self.dataset.source.read(self.written)[0].size
                image = image.resize(size, Image.Resampling.NEAREST)
            make_folder(path.parent)
            with whole_file(path) as draft:
                image.save(draft, format="PNG")
            self.written += 1

    def _check(self, force: bool) -> None:
        if twice := {name for name in self.names if self.names.count(name) > 1}:
            raise UserError(f"--save-ids: two frames are called {min(twice)}")
        paths = [self._path(name) for name in self.names]
        there = [path for path in paths if path.exists()]
        if there and not force:
            raise UserError(
                f"--save-ids {self.folder}: holds {there[0].name} and {len(there) - 1} more of "
                "these files; give another folder, or --force to write them anew"
            )
        check_outputs(paths, files_of(self.dataset), force)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.png"


def names_of(dataset: SegmentationDataset) -> Sequence[str]:
    """Return what the frames are called: a set of the user's own may have no names.

    A list may name photos anywhere; their names lead nowhere out of a folder.
    """
    frames: Sequence[Any] = getattr(dataset.source, "frames", ())
    parts = [Path(str(frame.name)).parts for frame in frames]
    names = ["/".join(part for part in own if part not in ("/", "..")) for own in parts]
    return names or [f"{index:06d}" for index in range(len(dataset))]


def files_of(dataset: SegmentationDataset) -> list[Path]:
    """Return the files that the frames of a set name: what is read."""
    frames: Sequence[Any] = getattr(dataset.source, "frames", ())
    named = [frame for frame in frames if isinstance(frame, tuple)]
    return [value for frame in named for value in frame if isinstance(value, Path)]


class AlsoSeen:
    """An evaluator whose predictions are handed on, too."""

    def __init__(self, evaluator: Evaluator, seen: Callable[[np.ndarray], None]) -> None:
        self.evaluator, self.seen = evaluator, seen

    def reset(self) -> None:
        """Begin anew."""
        self.evaluator.reset()

    def update(self, batch: Batch, prediction: np.ndarray) -> None:
        """Count a batch, then hand its predictions on."""
        self.evaluator.update(batch, prediction)
        self.seen(prediction)

    def compute(self) -> dict[str, Any]:
        """The scores so far."""
        return self.evaluator.compute()
