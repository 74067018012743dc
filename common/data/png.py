"""Reading PNG files so that a damaged one is an error with its name, never a damaged picture."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from common.errors import DataError


def read_png(path: Path, modes: tuple[str, ...]) -> Image.Image:
    """Read a PNG completely into memory.

    Every chunk's checksum is tested first: Pillow alone skips those of the pixel data.

    Args:
        path: the file.
        modes: Pillow modes that are meant, such as ("RGB",) or ("L", "P"); no other is converted.

    Raises:
        DataError: absent, not a PNG, truncated, damaged, or of another mode.
    """
    try:
        content = path.read_bytes()
        Image.open(BytesIO(content), formats=("PNG",)).verify()
        image = Image.open(BytesIO(content), formats=("PNG",))
        image.load()
    # Pillow reports damage by all of these; SyntaxError is its word for a bad chunk.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path}: cannot be read as PNG ({_reason(error)}); the file is damaged, truncated or "
            f"of another format: copy or unpack it again"
        ) from error
    if image.mode not in modes:
        raise DataError(
            f"{path}: expected a PNG of mode {' or '.join(modes)}, got {image.mode} "
            f"(modes as Pillow names them: RGB = colour, L = 8 bit grey, P = 8 bit with palette)"
        )
    return image


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "no PNG signature or no valid header"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return str(error) or type(error).__name__
