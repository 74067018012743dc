"""Names are data: what could move a terminal's cursor or turn a line is shown as its number."""

import re

# Controls but tab and line feed, marks that turn the direction of text, halves of letters.
_UNSHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_LONGEST = 4096  # letters of a name: messages hold several
_NO_NAME = re.compile("[\x00\n\x0b\x0c\r\x1c-\x1e\x85\u2028\u2029\ud800-\udfff]")


def escaped(text: str) -> str:
    r"""Return `text` as a person may read it, `\u001b` for an escape; of JSON it stays that JSON.

    Lines stay lines: what must be one is held by `is_name`, or escaped by `in_one_line`.
    """
    return _UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def in_one_line(text: str) -> str:
    """Return `text`, a name say, `escaped` and without breaks of lines."""
    return escaped(text).replace("\n", "\\n")


def is_name(text: str) -> bool:
    """Tell whether a name can be one: one line of some length, every letter whole, no NUL."""
    return len(text) <= _LONGEST and _NO_NAME.search(text) is None
