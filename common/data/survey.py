"""What is in a data set: every file read once, what is wrong with it, what its labels hold."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.data.classes import Classes
from common.data.dataset import DataSource
from common.data.photos import read_photo, traits_of
from common.data.transforms.images import VOID
from common.errors import SegmentsError, SizeMismatchError, UnknownLabelsError, UserError

UNREADABLE, MIS_SIZED, MISLABELLED = "unreadable", "mis-sized", "mislabelled"
MIS_SEGMENTED = "mis-segmented"  # of panoptic sets: map and list of segments disagree
EMPTY, UNPAIRED, SHARED = "empty", "unpaired", "in several splits"
UNUSABLE = "not augmented"  # of the samples that are drawn
KINDS = (UNREADABLE, MIS_SIZED, MISLABELLED, MIS_SEGMENTED, EMPTY, UNPAIRED, SHARED, UNUSABLE)
MOST_VALUES = 1000  # of a frame that are told apart


class Look(NamedTuple):
    """What one frame holds.

    place: its index in the split. problem: one of KINDS, "" where it is good. said: it in words.
    strange: pixels by value that is no class. counts: pixels by class, and by 255 for those that do
    not count; none where the frame cannot be read. size: height, width. traits: what is not plain
    about the photo. digest: of the photo's bytes, "" where there are none.
    """

    split: str
    place: int
    image: str
    label: str = ""
    problem: str = ""
    said: str = ""
    strange: Mapping[int, int] = {}
    counts: Mapping[int, int] = {}
    size: tuple[int, int] | None = None
    traits: tuple[str, ...] = ()
    digest: str = ""


def look_at(source: DataSource, split: str, index: int) -> Look:
    """Read a frame of a split, and tell what it holds; whatever is wrong is told, never raised."""
    frame = source.frames[index]
    label: Path | None = getattr(frame, "label", None)
    look = Look(split, index, str(frame.image), str(label or ""))
    try:
        look = look._replace(digest=hashlib.sha256(frame.image.read_bytes()).hexdigest())
        if label is None and hasattr(frame, "label"):
            photo = read_photo(frame.image)
            return look._replace(size=photo.size[::-1], traits=traits_of(frame.image))
        image, classes = source.read(index)
        counts = np.bincount(np.asarray(classes).ravel(), minlength=256)
        traits = traits_of(frame.image)
    except Exception as error:  # of files anything may be wrong
        return problem_of(look, error)
    held = {value: int(counts[value]) for value in np.flatnonzero(counts).tolist()}
    look = look._replace(counts=held, size=image.size[::-1], traits=traits)
    if set(held) <= {VOID} and not hasattr(source, "holds_objects"):  # which may show nothing
        said = f"{look.label or look.image}: no pixel of it has a class"
        return look._replace(problem=EMPTY, said=said)
    return look


def problem_of(look: Look, error: Exception) -> Look:
    """Return `look` with the problem that reading it raised."""
    files = [Path(name) for name in (look.image, look.label) if name]
    if void := [str(path) for path in files if path.is_file() and not path.stat().st_size]:
        return look._replace(problem=EMPTY, said=f"{' and '.join(void)}: 0 bytes")
    said = str(error) if isinstance(error, UserError) else f"{look.image}: {error!r}"
    if isinstance(error, SizeMismatchError):
        return look._replace(problem=MIS_SIZED, said=said)
    if isinstance(error, SegmentsError):
        return look._replace(problem=MIS_SEGMENTED, said=said)
    if isinstance(error, UnknownLabelsError):
        strange = dict(list(error.pixels.items())[:MOST_VALUES])
        return look._replace(problem=MISLABELLED, said=said, strange=strange)
    return look._replace(problem=UNREADABLE, said=said)


class Finding(NamedTuple):
    """A file that is not as it should be, and why."""

    file: str
    split: str
    said: str


class StrangeValue(NamedTuple):
    """A value of labels that is no class: pixels and files that have it."""

    pixels: int
    files: tuple[str, ...]


@dataclass
class Survey:
    """What was found in the splits of a data set.

    Attributes:
        classes: of the set.
        frames: number of frames by split.
        looks: of every frame, in any order.
        findings: by kind, those that are not of one frame.
        objects: of a set of objects by split how many were "dropped", and images "left_out".
    """

    classes: Classes
    frames: dict[str, int]
    looks: list[Look] = field(default_factory=list)
    others: dict[str, list[Finding]] = field(default_factory=dict)
    objects: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def findings(self) -> dict[str, list[Finding]]:
        """Return what is wrong, by kind; kinds without a finding are left out."""
        found: dict[str, list[Finding]] = {kind: [] for kind in KINDS}
        for look in sorted(self.looks, key=lambda look: (look.split, look.place)):
            if look.problem:
                of_label = look.problem in (MISLABELLED, MIS_SEGMENTED, EMPTY)
                file = look.label if of_label else look.image
                found[look.problem].append(Finding(file or look.image, look.split, look.said))
        found[SHARED] += self._shared()
        for kind, rows in self.others.items():
            found[kind] += rows
        return {kind: rows for kind, rows in found.items() if rows}

    def _shared(self) -> Iterable[Finding]:
        """Yield the photos of one split whose very bytes another split has, too."""
        first: dict[str, Look] = {}
        order = list(self.frames)
        for look in sorted(self.looks, key=lambda look: (order.index(look.split), look.place)):
            other = first.setdefault(look.digest, look) if look.digest else look
            if other.split != look.split:
                said = f"{look.image} of {look.split} is {other.image} of {other.split}"
                yield Finding(look.image, look.split, said)

    @property
    def strange(self) -> dict[int, StrangeValue]:
        """Return the values of labels that are no class."""
        pixels: Counter[int] = Counter()
        files: dict[int, list[str]] = {}
        for look in self.looks:
            for value, count in look.strange.items():
                pixels[value] += count
                files.setdefault(value, []).append(look.label)
        return {
            value: StrangeValue(pixels[value], tuple(sorted(files[value])))
            for value in sorted(files)
        }

    def pixels(self, split: str) -> np.ndarray:
        """Return the pixels of each class in a split, and last those that do not count: int64."""
        total = np.zeros(len(self.classes) + 1, np.int64)
        for look in self._of(split):
            for value, count in look.counts.items():
                total[-1 if value == VOID else value] += count
        return total

    def images(self, split: str) -> np.ndarray:
        """Return the number of frames of a split that show each class: int64 [classes]."""
        total = np.zeros(len(self.classes), np.int64)
        for look in self._of(split):
            total[[value for value in look.counts if value != VOID]] += 1
        return total

    def sizes(self, split: str) -> list[tuple[int, int]]:
        """Return the sizes (height, width) that photos of a split have, smallest area first."""
        found = {look.size for look in self._of(split) if look.size}
        return sorted(found, key=lambda size: (size[0] * size[1], size))

    @property
    def traits(self) -> dict[str, int]:
        """Return how many photos are not plain, by what they are."""
        return dict(Counter(trait for look in self.looks for trait in look.traits))

    def _of(self, split: str) -> Iterable[Look]:
        return (look for look in self.looks if look.split == split)
