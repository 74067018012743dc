"""Segments of an image: which ids there are, of which class, and what a crop leaves of them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from common.data.transforms.images import VOID, VOID_ID
from common.errors import SegmentsError
from common.panoptic.ids import MOST

SHOWN = 5  # ids of a message


class Segment(TypedDict):
    """A segment of an image: its id, its class (train id), 1 of a crowd, its pixels."""

    id: int
    category_id: int
    iscrowd: int
    area: int


class PanopticSample(NamedTuple):
    """An image and its segments.

    image: uint8 [H, W, 3], RGB. ids: uint32 [H, W], 24 bits, 0 where there is no segment.
    segments: those that have pixels, in their order; crowds are kept apart.
    """

    image: np.ndarray
    ids: np.ndarray
    segments: list[Segment]


def thing_classes(things: Collection[int] | np.ndarray) -> list[int]:
    """Return the classes that are things, as given; `things`: these, or a truth value for each."""
    flags = np.asarray(things if isinstance(things, np.ndarray) else list(things))
    chosen = np.flatnonzero(flags) if flags.dtype == bool else flags
    classes: list[int] = chosen.astype(np.int64).tolist()
    return classes


def thing_ids(things: Collection[int] | np.ndarray) -> frozenset[int]:
    """Return the classes that are things, in no order; `things` as of `thing_classes`."""
    return frozenset(thing_classes(things))


def areas_of(ids: np.ndarray) -> dict[int, int]:
    """Return the pixels of every id of a map [H, W] but 0, by id in ascending order."""
    values, lengths = _runs(ids)
    found, places = np.unique(values, return_inverse=True)
    pixels = np.bincount(places, weights=lengths, minlength=len(found)).astype(np.int64)
    held = dict(zip(found.tolist(), pixels.tolist(), strict=True))
    held.pop(VOID_ID, None)
    return held


def _runs(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of a map row by row, each once while it repeats, and how often it does.

    They are far fewer than pixels, of which every one would have to be looked up.
    """
    flat = ids.ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]])[: flat.size])
    return flat[starts], np.diff(starts, append=flat.size)


def places_of(ids: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
    """Return which of `segments` every pixel of a map [H, W] is of: intp [H, W].

    A pixel of an id that no segment has gets their number. Raises SegmentsError where an id stands
    there twice, or is none.
    """
    names = _ids_of([segment["id"] for segment in segments])
    count = len(names)
    if not count:
        return np.zeros(ids.shape, np.intp)
    values, lengths = _runs(ids)
    order = np.argsort(names)
    place = np.minimum(np.searchsorted(names[order], values), count - 1)
    found = np.where(names[order][place] == values, order[place], count)
    return np.repeat(found, lengths).reshape(ids.shape)


def _ids_of(listed: Sequence[int]) -> np.ndarray:
    """Return ids of segments: int64; SegmentsError where one is none, or is there twice."""
    if wrong := [number for number in listed if not VOID_ID < number < MOST]:
        raise SegmentsError(
            f"segments: expected ids 1..{MOST - 1} (0 is where there is no segment), got "
            f"{some_ids(wrong)}"
        )
    names = np.array(listed, np.int64)
    values, counts = np.unique(names, return_counts=True)
    if twice := values[counts > 1].tolist():
        raise SegmentsError(f"segments: the ids {some_ids(twice)} stand there twice")
    return names


def present(ids: np.ndarray, segments: Iterable[Segment]) -> list[Segment]:
    """Return the segments that have pixels in a map [H, W], with their areas there."""
    areas = areas_of(ids)
    return [
        Segment(
            id=row["id"],
            category_id=row["category_id"],
            iscrowd=row["iscrowd"],
            area=areas[row["id"]],
        )
        for row in segments
        if row["id"] in areas
    ]


def semantic_of(ids: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
    """Return the class of every pixel: uint8 [H, W], 255 where there is no segment.

    Raises SegmentsError as `places_of`, and where a class is none that a byte holds.
    """
    classes = [row["category_id"] for row in segments]
    if wrong := [number for number in classes if not 0 <= number < VOID]:
        raise SegmentsError(
            f"segments: expected a category_id 0..{VOID - 1}, which is the class (train id), got "
            f"{some_ids(wrong)}"
        )
    found: np.ndarray = np.array([*classes, VOID], np.uint8)[places_of(ids, segments)]
    return found


def outlines_of(ids: np.ndarray) -> np.ndarray:
    """Return where one segment of a map [H, W] ends and another begins: bool, a pixel wide."""
    edge = np.zeros(ids.shape, bool)
    edge[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    edge[:-1] |= ids[:-1] != ids[1:]
    return edge


def require_agreement(ids: np.ndarray, listed: Sequence[int], files: tuple[str, str]) -> None:
    """Raise SegmentsError where the ids of a map and those that are listed for it are not the same.

    files: what holds the map, and what the list, for the message.
    """
    require_same_ids(areas_of(ids), listed, files)


def require_same_ids(
    held: Mapping[int, int], listed: Sequence[int], files: tuple[str, str]
) -> None:
    """Do it for a map of which the pixels of every id are known, as of `areas_of`."""
    _require_listed(listed, files)
    known = set(listed)
    unlisted = [number for number in held if number not in known]
    empty = [number for number in listed if number not in held]
    faults = []
    if unlisted:
        pixels = sum(held[number] for number in unlisted)
        faults.append(
            f"the ids {some_ids(unlisted)} have {pixels} pixels in {files[0]} and are no segment "
            f"of {files[1]}"
        )
    if empty:
        faults.append(f"the segments {some_ids(empty)} of {files[1]} have no pixel in {files[0]}")
    if faults:
        raise SegmentsError(
            f"{'; '.join(faults)}. Both must have the same ids: get the two files again from one "
            "source"
        )


def _require_listed(listed: Sequence[int], files: tuple[str, str]) -> None:
    try:
        _ids_of(listed)
    except SegmentsError as error:
        raise SegmentsError(f"{files[1]}, of {files[0]}: {error}") from None


def some_ids(numbers: Sequence[int]) -> str:
    """Name the first five ids, and say how many more there are."""
    shown = ", ".join(map(str, numbers[:SHOWN]))
    return shown if len(numbers) <= SHOWN else f"{shown} and {len(numbers) - SHOWN} more"
