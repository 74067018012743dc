"""The language of what commands print: English, or Chinese by --lang or by the locale.

Each phrase stands in `phrases.json` with its Chinese, by its English with places for values. What
reports say (causes, notes, verdicts) has a table of its own, `align/judge/words.json`.
"""

import json
import os
import re
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from string import Formatter

ENGLISH, CHINESE = 0, 1
LANGUAGES = ("en", "zh")
_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set says the locale
_chosen: list[int] = []


def choose(name: str) -> None:
    """Print in the language `name` of LANGUAGES from now on, whatever the locale is."""
    _chosen[:] = [LANGUAGES.index(name)]


def choose_by(arguments: Sequence[str]) -> None:
    """Print in the language that `--lang` of a command line says; its parser speaks it, too."""
    for word, behind in zip(arguments, (*arguments[1:], ""), strict=False):
        option, equals, value = word.partition("=")
        if option == "--lang" and (name := value if equals else behind) in LANGUAGES:
            choose(name)


def language() -> int:
    """Return ENGLISH or CHINESE: what was chosen, else what the locale says."""
    return LANGUAGES.index(asked() or LANGUAGES[ENGLISH])


def asked() -> str | None:
    """Return the language that was asked for, by --lang or a Chinese locale; None: nobody did."""
    if _chosen:
        return LANGUAGES[_chosen[0]]
    locale = next((os.environ[name] for name in _VARIABLES if os.environ.get(name)), "")
    return LANGUAGES[CHINESE] if locale.lower().startswith("zh") else None


def comma() -> str:
    """Return what stands between the parts of a list in the language of what is printed."""
    return "，" if language() == CHINESE else ", "


@cache
def _sections() -> dict[str, dict[str, str]]:
    text = Path(__file__).with_name("phrases.json").read_text(encoding="utf-8")
    sections: dict[str, dict[str, str]] = json.loads(text)
    return sections


@cache
def phrases() -> dict[str, str]:
    """Return {English: Chinese}; `{name}` are places for values, the same in both."""
    sections = _sections()
    found = {english: chinese for rows in sections.values() for english, chinese in rows.items()}
    assert len(found) == sum(map(len, sections.values())), "phrases.json has a phrase twice"
    return found


def both(english: str, /, **values: object) -> list[str]:
    """Return a phrase of the table in English and in Chinese, with `values` in its places."""
    return [text.format(**values) for text in (english, phrases()[english])]


def phrase(english: str, /, **values: object) -> str:
    """Return a phrase of the table in the language of what is printed."""
    return both(english, **values)[language()]


def said(text: str) -> str:
    """Return a text that is known by itself (`recognised`) in the language of what is printed."""
    return recognised(text) if language() == CHINESE else text


def recognised(text: str) -> str:
    """Return in Chinese what somebody wrote in English; as it is where no phrase says it.

    A phrase without places is known wherever it stands; with places where it is one of TOLD, which
    are made where no language is known: an account of a conversion, say.
    """
    if text in phrases():
        return phrases()[text]
    for pattern, chinese in _told():
        if found := pattern.fullmatch(text):
            return chinese.format(**{k: recognised(v) for k, v in found.groupdict().items()})
    return text


TOLD = "told elsewhere: "  # how sections of such phrases begin


@cache
def _told() -> list[tuple[re.Pattern[str], str]]:
    return [
        (re.compile(pattern_of(english), re.DOTALL), chinese)
        for name, rows in _sections().items()
        if name.startswith(TOLD)
        for english, chinese in rows.items()
        if "{" in english
    ]


# Places that hold nothing but a number, a shape, one word, an option, a list, or several lines.
PLACES = {
    **dict.fromkeys(("count", "second", "total"), "[0-9,]+"),
    "integer": "-?[0-9]+",
    **dict.fromkeys(("shape", "other_shape"), r"[(\[][-0-9, ]*[)\]]"),
    "key": r"\S+",
    "option": r"(?:--?[\w-]+|\w+(?:\.\w+)+)",
    "names": "[^;\n]+?",
    "code": "(?s:.+)",
}
_REST = r"(?s:(?:; |, |: | \().*?)?"  # of a place behind another: what begins like a part


def pattern_of(english: str, empty: Collection[str] = ()) -> str:
    """Return the regular expression of a phrase; places called as one of `empty` may hold nothing.

    What stands in those may be several lines.
    """
    pattern = ""
    for before, name, *_ in Formatter().parse(english):
        values = PLACES.get(name or "", ".+?")
        if name in empty:
            values = "(?s:.*?)" if before or not pattern else _REST
        pattern += re.escape(before) + (f"(?P<{name}>{values})" if name else "")
    return pattern
