"""Help and errors: English where they are made, and by tables Chinese where they are printed.

`help.json` has whole texts. `errors.json` has templates, `{English with {places}: Chinese}`, by
which an error is recognised: whoever raises one writes a plain f-string. What no template fits is
printed as it is. The tables are read where Chinese is printed, and nowhere else.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from string import Formatter

from common.words.language import CHINESE, language, pattern_of

# Places that hold what is a text of the table itself, or nothing.
NESTED = ("what", "why", "more", "then")
# Those of which that may be, but as well a name.
PERHAPS = ("origin", "layer", "place", "who", "how")
FEW = 8  # letters of a template such as "{origin}: {why}", which fits where its parts are known
MOST_PARTS = 12
_JOINT = re.compile(r"(?=; |, | \()")  # where a text may be two of the table


def help_said(text: str) -> str:
    """Return a text of --help in the language of what is printed."""
    return help_texts().get(text, text) if language() == CHINESE else text


def error_said(text: str) -> str:
    """Return the text of an error in the language of what is printed, as far as it is known."""
    return in_chinese(text) if language() == CHINESE else text


@cache
def help_texts() -> dict[str, str]:
    """Return {English: Chinese} of what --help prints."""
    return _read("help.json")


def _read(name: str) -> dict[str, str]:
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    sections: dict[str, dict[str, str]] = json.loads(text)
    found = {english: chinese for rows in sections.values() for english, chinese in rows.items()}
    assert len(found) == sum(map(len, sections.values())), f"{name} has a text twice"
    return found


@dataclass(frozen=True)
class Template:
    """An English text with places for values, and its Chinese with the same places."""

    english: str
    chinese: str

    @cached_property
    def literals(self) -> tuple[str, ...]:
        """What stands before, between and behind the places."""
        parts = list(Formatter().parse(self.english))
        behind = [""] if not parts or parts[-1][1] is not None else []
        return (*(part[0] for part in parts), *behind)

    @cached_property
    def longest(self) -> str:
        """The longest of them: what most other texts lack."""
        return max(self.literals, key=len)

    @cached_property
    def letters(self) -> int:
        """How much of a text it says itself: of two that fit, the one that says more is meant."""
        return sum(map(len, self.literals))

    def values(self, text: str) -> Mapping[str, str] | None:
        """Return what stands in the places of a text, None where it is another text."""
        if "\n" in text and "\n" not in self.english:
            return None
        first, *_, last = self.literals if len(self.literals) > 1 else (self.literals[0], "")
        if not (text.startswith(first) and text.endswith(last)):
            return None
        if not all(literal in text for literal in self.literals):
            return None
        found = re.fullmatch(pattern_of(self.english, NESTED), text)
        return None if found is None else found.groupdict()


@cache
def templates() -> list[Template]:
    """Return the templates of errors, those that say most first."""
    rows = [Template(*row) for row in _read("errors.json").items()]
    return sorted(rows, key=lambda row: -row.letters)


@cache
def in_chinese(text: str) -> str:
    """Return an error in Chinese, as much of it as is known: as a whole, by its lines or parts."""
    whole = _whole(text)
    if "\n" in text:
        return "\n".join(map(_line, text.split("\n"))) if whole is None else whole
    found = [told for told in (whole, *_in_parts(text)) if told is not None]
    return min((*found, text), key=_english)


def _english(text: str) -> int:
    return sum(letter.isascii() and letter.isalpha() for letter in text)


def _line(text: str) -> str:
    words = text.strip().removesuffix(".")
    told = in_chinese(words)
    return text if told == words else text.replace(words, told).replace(f"{told}.", f"{told}。")


def _whole(text: str) -> str | None:
    for template in templates():
        if template.longest not in text or (values := template.values(text)) is None:
            continue
        told = {
            place: in_chinese(value) if place in (*NESTED, *PERHAPS) else _listed(value)
            for place, value in values.items()
        }
        unknown = any(told[place] == values[place] != "" for place in NESTED if place in values)
        if template.letters > FEW or not unknown:
            return template.chinese.format(**told)
    return None


def _listed(names: str) -> str:
    """Return a list of names, or of values with their pixels, in Chinese."""
    names = names.replace(" and no folder ", "、").replace(" (does not count)", "（不计分）")
    names = re.sub(r"([0-9]+) in ([0-9]+) pixels", r"\1（\2 个像素）", names)
    names = re.sub(r" \(([0-9]+) pixels?\)", r"（\1 个像素）", names)
    names = re.sub(r" or ([0-9]+) \(void\)$", r" 或 \1（忽略）", names)
    return re.sub(r",? and ([0-9,]+) more( values| ids)?$", r" 等，另有 \1 个", names)


def _in_parts(text: str) -> Iterator[str]:
    """Yield the text of two parts that are known: the other begins where one ends."""
    for place in [found.start() for found in _JOINT.finditer(text)][:MOST_PARTS]:
        if (head := _whole(text[:place])) is None:
            continue
        tail = text[place:]
        if (told := in_chinese(tail)) != tail:
            yield head + told
        elif tail.startswith("; ") and (told := in_chinese(tail[2:])) != tail[2:]:
            yield f"{head}；{told}"
