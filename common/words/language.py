"""The language of what commands print: English, or Chinese by --lang or by the locale.

Each phrase stands in `phrases.json` with its Chinese, by its English with places for values. What
reports say (causes, notes, verdicts) has a table of its own, `align/judge/words.json`.
"""

import json
import os
from functools import cache
from pathlib import Path

ENGLISH, CHINESE = 0, 1
LANGUAGES = ("en", "zh")
_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set says the locale
_chosen: list[int] = []


def choose(name: str) -> None:
    """Print in the language `name` of LANGUAGES from now on, whatever the locale is."""
    _chosen[:] = [LANGUAGES.index(name)]


def language() -> int:
    """Return ENGLISH or CHINESE: what was chosen, else what the locale says."""
    if _chosen:
        return _chosen[0]
    locale = next((os.environ[name] for name in _VARIABLES if os.environ.get(name)), "")
    return CHINESE if locale.lower().startswith("zh") else ENGLISH


@cache
def phrases() -> dict[str, str]:
    """Return {English: Chinese}; `{name}` are places for values, the same in both."""
    text = Path(__file__).with_name("phrases.json").read_text(encoding="utf-8")
    sections: dict[str, dict[str, str]] = json.loads(text)
    found = {english: chinese for rows in sections.values() for english, chinese in rows.items()}
    assert len(found) == sum(map(len, sections.values())), "phrases.json has a phrase twice"
    return found


def both(english: str, /, **values: object) -> list[str]:
    """Return a phrase of the table in English and in Chinese, with `values` in its places."""
    return [text.format(**values) for text in (english, phrases()[english])]


def phrase(english: str, /, **values: object) -> str:
    """Return a phrase of the table in the language of what is printed."""
    return both(english, **values)[language()]
