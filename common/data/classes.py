"""The classes of a data set: their names and colours, from its own table or from a text file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import DataError

MOST = 255  # classes: labels are bytes, and one value is void
Color = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Classes:
    """Names by class, and colours by class: uint8 [256, 3] RGB, void black."""

    names: tuple[str, ...]
    colors: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


def bit_palette(count: int) -> np.ndarray:
    """Return Pascal VOC's colours of `count` classes: uint8 [256, 3] RGB; the rest is black.

    The bits of the class, three at a time, become the high bits of red, green and blue.
    """
    colors = np.zeros((256, 3), np.uint8)
    for index in range(count):
        for bit in range(8):
            for channel in range(3):
                value = index >> (3 * bit + channel) & 1
                colors[index, channel] |= value << (7 - bit)
    return colors


def make_classes(names: Sequence[str], colors: Sequence[Color] | None, where: str) -> Classes:
    """Return the classes called `names`, in VOC's colours where none are given.

    where: what names them, for the messages.

    Raises:
        DataError: fewer than 2 or more than 255 names, one twice, or not a colour for each.
    """
    if not 2 <= len(names) <= MOST:
        raise DataError(
            f"{where}: {len(names)} classes; a set has 2 to {MOST} (name the background too, where "
            "it is to be learnt; labels are read as bytes, of which one is void)"
        )
    if twice := sorted({name for name in names if list(names).count(name) > 1}):
        raise DataError(f"{where}: {', '.join(map(repr, twice[:3]))} stands there twice")
    if colors is not None and len(colors) != len(names):
        raise DataError(f"{where}: {len(names)} names and {len(colors)} colours: give each its own")
    table = bit_palette(len(names))
    if colors is not None:
        table[: len(colors)] = np.array(colors, np.uint8)
    return Classes(tuple(names), table)


def read_class_file(path: Path) -> Classes:
    """Read the classes of a text file: a line a class, in the order of their indices.

    A line is `name`, `name R G B`, or `index name R G B`; all lines are of one form. Empty lines
    do not count; a name may have spaces.

    Raises:
        DataError: unreadable, lines of differing forms, indices out of order, or no classes.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise DataError(
            f"{path}: cannot be read ({reason}); expected a class name a line"
        ) from None
    lines = [line.split() for line in text.splitlines() if line.strip()]
    colored = [_color(words) is not None for words in lines]
    if any(colored) and not all(colored):
        number = colored.index(False)
        raise DataError(
            f"{path}: {' '.join(lines[number])!r} has no colour, other lines have; write "
            "every line as `name` or every line as `name R G B` (0..255)"
        )
    if not any(colored):
        return make_classes([" ".join(words) for words in lines], None, str(path))
    names = [words[:-3] for words in lines]
    if all(len(words) > 1 and words[0].isdigit() for words in names):
        if [int(words[0]) for words in names] != list(range(len(names))):
            raise DataError(
                f"{path}: expected the indices 0..{len(names) - 1} in this order before the names, "
                f"got {', '.join(words[0] for words in names[:5])}, ..."
            )
        names = [words[1:] for words in names]
    colors = [color for words in lines if (color := _color(words))]
    return make_classes([" ".join(words) for words in names], colors, str(path))


def _color(words: Sequence[str]) -> Color | None:
    """Return the colour that a line ends with, None where it does not."""
    last = words[-3:]
    if len(words) < 4 or not all(word.isdigit() and int(word) <= 255 for word in last):
        return None
    red, green, blue = map(int, last)
    return red, green, blue
