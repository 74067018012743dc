"""Errors that are a user's to mend: one message, no traceback.

A message names what, where, expected, got, and the next step. Commands print it and exit with
`exit_code`: 2 = could not check or could not read, 1 = was checked and is not good.
"""


class UserError(Exception):
    """What the user gave cannot be used; nothing was checked."""

    exit_code = 2


class UnreadableError(UserError):
    """A file is absent, damaged, of an unknown format, or would have to run code to be read."""


class ConfigError(UserError):
    """A setting is unknown, of the wrong type, or contradicts another."""


class DataError(UserError):
    """A data set is missing, half present or inconsistent."""


class ConversionError(UserError):
    """The checkpoint was read and does not fit the net."""

    exit_code = 1
