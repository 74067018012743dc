"""The numbers that options take: each kind refuses in one line what makes no sense for it."""

import math
from argparse import ArgumentTypeError as Refused
from collections.abc import Callable

LARGEST = 2**31 - 1  # what counts and sizes of both frameworks hold
LONGEST = 30.0 * 24 * 3600  # seconds to wait


def shown(text: str) -> str:
    """Return what was typed, or its beginning, between quotes."""
    return f"{text!r:.40}"


def whole(least: int, most: int = LARGEST) -> Callable[[str], int]:
    """Return what reads an option that is a whole number of that range."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:  # of more than 4,300 digits too
            number = least - 1
        if not least <= number <= most:
            raise Refused(f"expected a whole number from {least} to {most}, got {shown(text)}")
        return number

    return read


def real(least: float, most: float, above: bool = False) -> Callable[[str], float]:
    """Return what reads an option that is a number of that range; `above`: without `least`."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if above and not least < number <= most:
            raise Refused(f"expected a number above {least:g}, at most {most:g}, got {shown(text)}")
        if not least <= number <= most:
            raise Refused(f"expected a number from {least:g} to {most:.7g}, got {shown(text)}")
        return number

    return read


positive = whole(1)
not_negative = whole(0)
seed = whole(0, 2**32 - 1)  # what every generator takes
seconds = real(0, LONGEST)  # 0: no end
score = real(0, 1)
factor = real(0, 4, above=True)  # by which images are resized
share = real(0, 1, above=True)
tolerance = real(0, 10, above=True)  # as a share of a value


def size_hw(text: str) -> tuple[int, int]:
    """'512x256' (width x height) to (256, 512)."""
    try:
        width, height = map(positive, text.lower().split("x"))
    except (Refused, ValueError):
        raise Refused(f"expected WxH such as 512x256, got {shown(text)}") from None
    return height, width


def shape_dhw(text: str) -> tuple[int, int, int]:
    """'32x64x96' (depth x height x width) to (32, 64, 96)."""
    try:
        depth, height, width = map(positive, text.lower().split("x"))
    except (Refused, ValueError):
        raise Refused(f"expected DxHxW such as 32x64x64, got {shown(text)}") from None
    return depth, height, width


def factors(text: str) -> tuple[float, ...]:
    """'0.75,1' to (0.75, 1.0)."""
    try:
        return tuple(map(factor, text.split(",")))
    except Refused:
        raise Refused(f"expected numbers such as 0.75,1,1.25, got {shown(text)}") from None
