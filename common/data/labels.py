"""Label files: their values as they are stored, and which class each value is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.data.classes import Classes
from common.data.read_image import load_image
from common.data.transforms.images import VOID
from common.errors import ConfigError, DamagedFileError, UnknownLabelsError

LABEL_KINDS = ("PNG", "BMP", "GIF", "TIFF")
SUFFIXES = (".png", ".bmp", ".gif", ".tif", ".tiff")
VALUES = 1 << 16  # of a label of 16 bits
BITS, PHOTOMETRIC, WHITE_IS_0 = 258, 262, 0  # tags of a TIFF, and a value
_UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class Labelling:
    """What the values of label files mean.

    Attributes:
        classes: of the set; their indices are what is read.
        ignore_index: value of pixels that do not count; it becomes 255.
        label_map: value -> class, or ignore_index. It names every value that there is.
        reduce_zero_label: 0 does not count, and 1, 2, ... are the classes 0, 1, ...

    Raises:
        ConfigError: they contradict each other.
    """

    classes: Classes
    ignore_index: int = VOID
    label_map: Mapping[int, int] | None = None
    reduce_zero_label: bool = False
    _table: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        count, first = len(self.classes), int(self.reduce_zero_label)
        if self.label_map is None and first <= self.ignore_index < first + count:
            raise ConfigError(
                f"data.ignore_index is {self.ignore_index}, which is the class "
                f"{self.classes.names[self.ignore_index - first]!r}; give a value that is no "
                "class, or say in data.label_map what every value is"
            )
        if self.label_map is not None and self.reduce_zero_label:
            raise ConfigError(
                "data.label_map and data.reduce_zero_label are both set: the map alone says what "
                "every value is"
            )
        table = np.full(VALUES, _UNKNOWN, np.int16)
        table[self.ignore_index] = VOID
        if self.reduce_zero_label:
            table[0] = VOID
        if self.label_map is None:
            table[first : first + count] = np.arange(count)
        for value, index in (self.label_map or {}).items():
            if not 0 <= value < VALUES or not (index == self.ignore_index or 0 <= index < count):
                raise ConfigError(
                    f"data.label_map: {value} -> {index}; expected a value 0..{VALUES - 1} of the "
                    f"files, and a class 0..{count - 1} or data.ignore_index ({self.ignore_index})"
                )
            table[value] = VOID if index == self.ignore_index else index
        object.__setattr__(self, "_table", table)

    def read(self, values: np.ndarray, path: Path) -> Image.Image:
        """Return the classes of `values`, whole numbers [H, W], as an image of mode L.

        Raises:
            UnknownLabelsError: there are others; it says which, and how many pixels have them.
        """
        found: np.ndarray = self._table[values]
        if found.min(initial=0) == _UNKNOWN:
            there, pixels = np.unique(values[found == _UNKNOWN], return_counts=True)
            raise _unknown(path, dict(zip(there.tolist(), pixels.tolist(), strict=True)), self)
        return Image.fromarray(found.astype(np.uint8))

    @property
    def expected(self) -> str:
        """The values that are allowed, in words."""
        values = sorted({*np.flatnonzero(self._table != _UNKNOWN).tolist()} - {self.ignore_index})
        last = len(values) - 1
        whole = values == list(range(values[0], values[0] + len(values)))
        shown = f"{values[0]}..{values[last]}" if whole and last > 1 else _few(values)
        return f"{shown} and {self.ignore_index} (does not count)"


def read_label(path: Path) -> np.ndarray:
    """Read the values of a label file: uint8 or uint16 [H, W].

    Of a palette the indices are read, never its colours; of grey pixels of 1, 2 or 4 bits the
    numbers that are stored.

    Raises:
        DamagedFileError: unreadable, coloured, or of a format that changes values.
    """
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise DamagedFileError(
            f"{path}: a label may be no JPEG, which changes values; write it as PNG from its source"
        )
    image = load_image(path, LABEL_KINDS)
    if image.format == "TIFF":
        _require_plain(image, path)
    if image.mode in ("I;16", "I;16B", "I"):
        values = np.asarray(image)
        if values.size and not 0 <= int(values.min()) <= int(values.max()) < VALUES:
            raise DamagedFileError(
                f"{path}: a label holds values 0..{VALUES - 1}, got {int(values.min())} to "
                f"{int(values.max())}"
            )
        return values.astype(np.uint16)
    if image.mode not in ("1", "L", "P"):
        raise DamagedFileError(
            f"{path}: expected a label of one channel (grey or with a palette), whose values are "
            f"class indices, got mode {image.mode}; write the index of the class into every pixel, "
            "not its colour"
        )
    values = np.asarray(image).astype(np.uint8)
    return values // _scale(path) if image.mode == "L" and image.format == "PNG" else values


def _require_plain(image: Image.Image, path: Path) -> None:
    """Raise DamagedFileError for a TIFF whose values are not read as they are stored."""
    tags: Any = image.tag_v2  # type: ignore[attr-defined]  # of a TIFF
    bits, compression = tags.get(BITS, (1,)), image.info.get("compression", "")
    problem = ""
    if getattr(image, "n_frames", 1) > 1:
        problem = f"has {getattr(image, 'n_frames', 1)} pages"
    elif "jpeg" in str(compression) or "webp" in str(compression):
        problem = f"is compressed by {compression}, which changes values"
    elif tags.get(PHOTOMETRIC) == WHITE_IS_0:
        problem = "is stored inverted (its smallest value is white)"
    elif bits[0] not in (1, 8, 16, 32):
        problem = f"has {bits[0]} bits a pixel"
    if problem:
        raise DamagedFileError(
            f"{path}: a label may be a TIFF of one page, of 8 or 16 bits, whose values are as they "
            f"are stored; this one {problem}: write it as PNG from its source"
        )


def read_mat(path: Path, key: str) -> np.ndarray:
    """Read the matrix called `key` of a MATLAB file: a label, uint16 [H, W].

    Raises:
        DamagedFileError: unreadable, or no such matrix of whole numbers 0..65535.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        held: dict[str, Any] = loadmat(path, variable_names=[key])
    except (OSError, ValueError, TypeError, NotImplementedError, MatReadError, EOFError) as error:
        raise DamagedFileError(
            f"{path}: cannot be read as a MATLAB file before 7.3 ({error}); copy or unpack it again"
        ) from None
    values = held.get(key)
    if values is None or values.ndim != 2 or values.dtype.kind not in "iuf":
        got = "no such matrix" if values is None else f"{values.dtype} {list(values.shape)}"
        raise DamagedFileError(f"{path}: expected the label in a matrix {key!r}, got {got}")
    numbers = values.astype(np.float64)
    if not values.size or (numbers != np.clip(np.rint(numbers), 0, VALUES - 1)).any():
        raise DamagedFileError(f"{path}: {key!r} holds more than whole numbers 0..{VALUES - 1}")
    return values.astype(np.uint16)


def _scale(path: Path) -> int:
    """Return what Pillow multiplies grey values of a PNG with: those of 2 and 4 bits."""
    with path.open("rb") as file:
        bits = file.read(25)[24]
    return {2: 85, 4: 17}.get(bits, 1)


def _unknown(path: Path, pixels: Mapping[int, int], labelling: Labelling) -> UnknownLabelsError:
    shown = ", ".join(f"{value} in {count} pixels" for value, count in list(pixels.items())[:5])
    more = f" and {len(pixels) - 5} more values" if len(pixels) > 5 else ""
    count = len(labelling.classes)
    hint = ""
    if set(pixels) == {count} and labelling.label_map is None and not labelling.reduce_zero_label:
        hint = "; are the classes numbered from 1? Then set data.reduce_zero_label: true"
    error = UnknownLabelsError(
        f"{path}: expected {labelling.expected} in a label of {count} classes, got {shown}{more}"
        f"{hint}; correct the label, or set data.ignore_index to the one value that does not "
        "count, or map every value there is by data.label_map"
    )
    error.pixels = dict(pixels)
    return error


def _few(values: list[int]) -> str:
    shown = ", ".join(map(str, values[:8]))
    return shown if len(values) <= 8 else f"{shown}, ... ({len(values)} values)"
