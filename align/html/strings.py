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
    def pattern(english: str) -> re.Pattern[str]:
        parts = re.split(r"\{(\w+)\}", english)
        texts, names = parts[::2], parts[1::2]
        groups = [f"(?P<{name}>.+?)" for name in names]
        body = "".join(re.escape(t) + g for t, g in zip(texts, [*groups, ""], strict=True))
        return re.compile(body, re.DOTALL)

    return [(pattern(english), chinese) for english, chinese in phrases()]


def in_both(text: str | None) -> list[str]:
    """Return `text` in English and in Chinese; twice as it is where no phrase fits."""
    if not text:
        return ["", ""]
    for pattern, chinese in _patterns():
        found = pattern.fullmatch(text)
        if found:
            values = dict(found.groupdict())
            if values.get("c"):
                values["c"] = in_both(values["c"])[1]
            return [text, chinese.format(**values)]
    return [text, text]


def say(key: str, **values: object) -> list[str]:
    """Return the words of `key` in both languages with `values` in their places."""
    return [words.format(**values) if values else words for words in strings()[key]]
