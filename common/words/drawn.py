"""Words in pictures: Chinese where it is what is printed and a font has it, else English."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from common.words.language import CHINESE, ENGLISH, both, language

CJK = 0x2E80  # the first letter of Chinese, Japanese, Korean
CJK_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC"),
    *("WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "SimHei", "Microsoft YaHei", "PingFang SC"),
    *("Heiti SC", "Arial Unicode MS"),
)
LATIN = "DejaVu Sans"  # comes with matplotlib


def cjk_fonts() -> tuple[str, ...]:
    """Return the first font of this machine that has Chinese; nothing where none has."""
    from matplotlib import font_manager

    have = {font.name for font in font_manager.fontManager.ttflist}
    found = tuple(name for name in CJK_FONTS if name in have)[:1]
    if found:
        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # of its weights
    return found


def picture_language() -> int:
    """Return the language of pictures: that of what is printed, if a font has its letters."""
    return CHINESE if language() == CHINESE and cjk_fonts() else ENGLISH


def drawn(english: str, /, **values: object) -> str:
    """Return a phrase of the table in the language of pictures."""
    return both(english, **values)[picture_language()]


@contextmanager
def lettering() -> Iterator[None]:
    """Draw with a font that has Chinese beside matplotlib's own, where pictures are Chinese.

    Also a decorator of what draws and writes a picture.
    """
    from matplotlib import rc_context

    fonts: Any = {}  # keys of matplotlib's settings
    if picture_language() == CHINESE:
        fonts = {"font.family": [LATIN, *cjk_fonts()]}
    with rc_context(fonts):
        yield


def written(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return names as a picture can hold them, and the fonts that have their letters.

    Where no font of this machine has Chinese, Japanese or Korean, such a name is its number.
    """
    foreign = [max(map(ord, name), default=0) >= CJK for name in names]
    if not any(foreign) or cjk_fonts():
        return list(names), [LATIN, *(cjk_fonts() if any(foreign) else ())]
    pairs = zip(names, foreign, strict=True)
    return [str(k) if other else name for k, (name, other) in enumerate(pairs)], [LATIN]
