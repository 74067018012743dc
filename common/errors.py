"""Errors that are a user's to mend: one message, no traceback.

A message names what, where, expected, got, and the next step. Commands print it and exit with
`exit_code`: 2 = could not check or could not read, 1 = was checked and is not good.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any


class UserError(Exception):
    """What the user gave cannot be used; nothing was checked."""

    exit_code = 2


class UnreadableError(UserError):
    """A file is absent, damaged, of an unknown format, or would have to run code to be read."""


class ConfigError(UserError):
    """A setting is unknown, of the wrong type, or contradicts another."""


class DataError(UserError):
    """A data set is missing, half present or inconsistent."""


class DamagedFileError(DataError):
    """A file of a data set is absent, damaged or of a kind that is not meant."""


class SizeMismatchError(DataError):
    """An image and its label differ in size."""


class UnknownLabelsError(DataError):
    """A label holds values that are no class.

    `pixels` counts them by value. `source` is the data set where opening it told so.
    """

    pixels: Mapping[int, int] = MappingProxyType({})
    source: Any = None


class SegmentsError(DataError):
    """Segments of an image are listed otherwise than its map of ids has them."""


class UnpairedError(DataError):
    """Files of a data set lack their partner.

    `problems` names them by kind, `source` is the data set of all the others.
    """

    problems: Mapping[str, Sequence[str]] = MappingProxyType({})
    source: Any = None


class ConversionError(UserError):
    """The checkpoint was read and does not fit the net.

    names_differ: tensors are left over on both sides. classes: how many the file has, where that
    may be all that differs. proposed: rules for names that differ. advice: what to type next.
    """

    exit_code = 1
    names_differ = False
    classes: int | None = None
    proposed = advice = ""

    def __str__(self) -> str:
        return "\n".join(text for text in (super().__str__(), self.proposed, self.advice) if text)
