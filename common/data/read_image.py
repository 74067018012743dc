"""Reading images so that a damaged one is an error with its name, never a damaged picture."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from common.errors import DamagedFileError, UnreadableError
from common.files import require_file


def read_png(path: Path, modes: tuple[str, ...]) -> Image.Image:
    """Read a PNG; see `read_image`."""
    return read_image(path, "PNG", modes)


def read_image(path: Path, kind: str, modes: tuple[str, ...]) -> Image.Image:
    """Read an image completely into memory.

    Of a PNG every chunk's checksum is tested first: Pillow alone skips those of the pixel data.

    Args:
        path: the file.
        kind: "PNG", "JPEG" or "GIF"; no other is read.
        modes: Pillow modes that are meant, such as ("RGB",) or ("L", "P"); no other is converted.

    Raises:
        DamagedFileError: absent, of another kind, truncated, damaged, or of another mode.
    """
    image = load_image(path, (kind,))
    if image.mode not in modes:
        raise DamagedFileError(
            f"{path}: expected a {kind} of mode {' or '.join(modes)}, got {image.mode} "
            f"(modes as Pillow names them: RGB = colour, L = 8 bit grey, P = 8 bit with palette)"
        )
    return image


def load_image(path: Path, kinds: tuple[str, ...]) -> Image.Image:
    """Read an image of one of `kinds`, in the mode that it has; see `read_image`.

    Raises:
        DamagedFileError: absent, of another kind, truncated or damaged.
    """
    kind = " or ".join(kinds)
    try:
        content = require_file(path).read_bytes()
        Image.open(BytesIO(content), formats=kinds).verify()
        image = Image.open(BytesIO(content), formats=kinds)
        image.load()
    except UnreadableError as error:
        raise DamagedFileError(str(error)) from None
    except FileNotFoundError as error:
        raise DamagedFileError(
            f"{path}: no such file; expected a {kind}: look for its name, or copy or unpack it "
            "again"
        ) from error
    # Pillow reports damage by all of these; SyntaxError is its word for a bad chunk.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DamagedFileError(
            f"{path}: cannot be read as {kind} ({_reason(error, kind)}); the file is damaged, "
            f"truncated or of another format: copy or unpack it again"
        ) from error
    return image


def _reason(error: Exception, kind: str) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return f"no {kind} signature or no valid header"
    return str(error) or type(error).__name__
