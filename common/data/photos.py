"""Photos of any kind, as they come from cameras and tools, as RGB of 8 bits.

Grey is repeated. Alpha is dropped: the colour that stands under it is used. Of 16 bits the higher
byte is taken. A palette gives its colours. What EXIF says of the orientation is done: the photo is
turned as every viewer shows it. A label has no orientation: it is taken as it is stored.
"""

import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from common.data.read_image import load_image
from common.errors import DamagedFileError, SizeMismatchError

PHOTO_KINDS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
DEEP = ("I;16", "I;16L", "I;16B", "I")
PLAIN = ("RGB", "1", "L", "P", "LA", "PA", "RGBA", "RGBX", "CMYK", "YCbCr")
ORIENTATION = 0x0112  # EXIF's tag
UPRIGHT = 1


def read_photo(path: Path) -> Image.Image:
    """Read a photo as an image of mode RGB, turned as its EXIF says.

    Raises:
        DamagedFileError: absent, truncated, damaged, or of a kind that is no photo.
    """
    image = load_image(path, PHOTO_KINDS)
    turned = _turned(image, path)
    if turned.mode in DEEP:
        values = np.asarray(turned).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise DamagedFileError(f"{path}: expected grey of 16 bits, got values outside 0..65535")
        turned = Image.fromarray((values >> 8).astype(np.uint8))
    elif turned.mode not in PLAIN:
        raise DamagedFileError(
            f"{path}: expected a photo in colour or grey, got mode {turned.mode} (as Pillow names "
            "it); write it as PNG or JPEG of 8 or 16 bits"
        )
    return turned if turned.mode == "RGB" else turned.convert("RGB")  # a copy is as large


def traits_of(path: Path) -> tuple[str, ...]:
    """Tell what is not plain about a photo that `read_photo` reads: names of `TRAITS`."""
    with Image.open(path) as image:
        alpha = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
        found = {
            "turned by EXIF": _orientation(image) != UPRIGHT,
            "with alpha": alpha,
            "16 bits": image.mode in DEEP or _bits(path) == 16,
            "grey": image.mode in (*DEEP, "1", "L", "LA"),
            "palette": image.mode in ("P", "PA"),
        }
    return tuple(name for name, there in found.items() if there)


def require_one_size(image: Image.Image, label: Image.Image, paths: tuple[Path, Path]) -> None:
    """Raise SizeMismatchError, naming both files, where an image and its label differ in size."""
    if image.size == label.size:
        return
    turned = image.size == label.size[::-1] and _orientation_of(paths[0]) != UPRIGHT
    hint = (
        "; EXIF turns the photo and not the label, which is as large as the photo is stored: write "
        "the photo without EXIF's orientation, or turn the label too"
    )
    raise SizeMismatchError(
        f"{paths[0]} is {image.width} x {image.height} (width x height), its label {paths[1]} is "
        f"{label.width} x {label.height}: they must be equal{hint if turned else ''}"
    )


def _turned(image: Image.Image, path: Path) -> Image.Image:
    try:
        return image if _orientation(image) == UPRIGHT else ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error) as error:
        raise DamagedFileError(f"{path}: its EXIF cannot be read ({error})") from None


def _orientation(image: Image.Image) -> int:
    return int(image.getexif().get(ORIENTATION, UPRIGHT))


def _orientation_of(path: Path) -> int:
    try:
        with Image.open(path) as image:
            return _orientation(image)
    except (OSError, ValueError):
        return UPRIGHT


def _bits(path: Path) -> int:
    """Return the bits of a channel of a PNG; 0 of another file."""
    with path.open("rb") as file:
        head = file.read(25)
    return head[24] if head[:4] == b"\x89PNG" else 0
