"""The page's own words, English and Chinese; what a report says is in align/judge/words.json."""

import json
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


def say(key: str, **values: object) -> list[str]:
    """Return the words of `key` in both languages with `values` in their places."""
    return [words.format(**values) if values else words for words in strings()[key]]
