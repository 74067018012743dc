"""Segments as pictures: every one in a colour of its own near that of its class, and outlined."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.panoptic.segments import Segment, outlines_of, places_of

STEPS = 7  # colours of things of one class that are told apart
STRENGTH = 56  # how far they go from that of the class, in 0..255
OUTLINE = (255, 255, 255)
VOID_COLOR = (0, 0, 0)


@dataclass(frozen=True)
class Segments:
    """A panoptic map [H, W] and what its numbers mean: class * divisor + number, void negative."""

    panoptic: np.ndarray
    divisor: int
    things: Sequence[int]

    @property
    def classes(self) -> np.ndarray:
        """The class of every pixel [H, W]; void negative."""
        return np.where(self.panoptic < 0, -1, self.panoptic // self.divisor)

    def outlines(self) -> np.ndarray:
        """Return where one segment ends and another begins: bool [H, W], a pixel wide."""
        return outlines_of(self.panoptic)

    def painted(self, colors: np.ndarray) -> np.ndarray:
        """Return the colours of the segments: uint8 [H, W, 3]; `colors` are those of classes."""
        ids, places = np.unique(self.panoptic, return_inverse=True)
        table = np.array([self._color(number, colors) for number in ids.tolist()], np.uint8)
        found: np.ndarray = table[places.reshape(self.panoptic.shape)]
        return found

    def _color(self, number: int, colors: np.ndarray) -> tuple[int, int, int]:
        if number < 0:
            return VOID_COLOR
        own = colors[number // self.divisor].astype(int)
        if number // self.divisor in self.things:
            # Each channel goes its own way, so that the first few numbers are far from another.
            step = number % self.divisor
            shares = [((step * k) % STEPS) / (STEPS - 1) - 0.5 for k in (1, 2, 4)]
            own = np.clip(own + 2 * STRENGTH * np.array(shares), 16, 255).astype(int)
        red, green, blue = own.tolist()
        return red, green, blue

    def shares(self, names: Sequence[str]) -> dict[str, float]:
        """Return the share of the pixels by name of the classes that occur, the largest first."""
        there = self.classes[self.panoptic >= 0]
        counts = np.bincount(there, minlength=len(names))
        order = np.argsort(-counts, kind="stable")
        return {names[i]: float(counts[i] / self.panoptic.size) for i in order if counts[i]}

    def numbers(self) -> dict[int, int]:
        """Return how many segments there are of every class of things that occurs."""
        ids = np.unique(self.panoptic[self.panoptic >= 0]) // self.divisor
        classes, counts = np.unique(ids, return_counts=True)
        found = zip(classes.tolist(), counts.tolist(), strict=True)
        return {number: count for number, count in found if number in self.things}


def overlay(photo: np.ndarray, segments: Segments, colors: np.ndarray) -> np.ndarray:
    """Return uint8 [H, W, 3]: the photo tinted by segment, their outlines white."""
    tint = segments.painted(colors)
    mixed: np.ndarray = (photo | tint) - ((photo ^ tint) >> 1)  # the mean, rounded up, in bytes
    void = segments.panoptic < 0
    mixed[void] = photo[void]
    mixed[segments.outlines()] = OUTLINE
    return mixed


def outlined(segments: Segments, colors: np.ndarray) -> np.ndarray:
    """Return uint8 [H, W, 3]: the colours of the segments, their outlines white."""
    made = segments.painted(colors)
    made[segments.outlines()] = OUTLINE
    return made


def truth_of(
    ids: np.ndarray, rows: Sequence[Segment], things: Sequence[int], divisor: int
) -> Segments:
    """Return the segments of a truth, ids uint32 [H, W] and their rows, as a net's are numbered."""
    numbers: dict[int, int] = {}
    named = []
    for row in rows:
        category = row["category_id"]
        if category in things:
            numbers[category] = numbers.get(category, 0) + 1
        named.append(category * divisor + numbers.get(category, 0))
    table = np.array([*named, -1], np.int64)
    return Segments(table[places_of(ids, rows)], divisor, things)
