"""The words of the page, English and Chinese, from two tables."""

import json
import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent


@cache
def strings() -> dict[str, list[str]]:
    """Return {key: [English, Chinese]}; `{n}` and the like are places for values."""
    table: dict[str, list[str]] = json.loads(
        (HERE / "strings.json").read_text(encoding="utf-8"), object_pairs_hook=_without_duplicates
    )
    return table


def _without_duplicates(pairs: list[tuple[str, list[str]]]) -> dict[str, list[str]]:
    table = dict(pairs)
    assert len(table) == len(pairs), "strings.json has a key twice"
    return table


@cache
def phrases() -> list[list[str]]:
    """Return [English, Chinese] of what the judges say, with places for values."""
    table: list[list[str]] = json.loads((HERE / "phrases.json").read_text(encoding="utf-8"))
    return table


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Return the phrases, those with the most words of their own first."""

    def pattern(english: str) -> re.Pattern[str]:
        parts = re.split(r"\{(\w+)\}", english)
        texts, names = parts[::2], parts[1::2]
        groups = [f"(?P<{name}>.+?)" for name in names]
        body = "".join(re.escape(t) + g for t, g in zip(texts, [*groups, ""], strict=True))
        return re.compile(body, re.DOTALL)

    def own_words(phrase: list[str]) -> int:
        return len(re.sub(r"\{\w+\}", "", phrase[0]))

    ordered = sorted(phrases(), key=own_words, reverse=True)
    return [(pattern(english), chinese) for english, chinese in ordered]


def in_both(text: str | None) -> list[str]:
    """Return `text` in English and in Chinese; twice as it is where no phrase fits.

    Causes are sentences joined by semicolons or commas; what a phrase has a place for may be a
    phrase again.
    """
    return [text, _in_chinese(text)] if text else ["", ""]


def _in_chinese(text: str) -> str:
    for mark, joint in (("; ", "；"), (", ", "，")):
        if mark == ", ":
            whole = _phrase(text)
            if whole is not None:
                return whole
        elif (whole := _phrase(text, with_mark=mark)) is not None:
            return whole
        for found in re.finditer(mark, text):
            left, right = text[: found.start()], text[found.end() :]
            if mark == "; " or (_phrase(left) is not None and _phrase(right) is not None):
                return f"{_in_chinese(left)}{joint}{_in_chinese(right)}"
    return text


def _phrase(text: str, with_mark: str = "") -> str | None:
    """Return the Chinese of the phrase that `text` is; of one that has `with_mark` itself."""
    for pattern, chinese in _patterns():
        found = pattern.fullmatch(text) if with_mark.strip() in pattern.pattern else None
        if found:
            return chinese.format(**{k: _in_chinese(v) for k, v in found.groupdict().items()})
    return None


def say(key: str, **values: object) -> list[str]:
    """Return the words of `key` in both languages with `values` in their places."""
    return [words.format(**values) if values else words for words in strings()[key]]
