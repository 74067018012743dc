"""Texts that are English where they are made, and by a table Chinese where they are printed.

`help.json` has those of --help. It is read where Chinese is printed, and nowhere else.
"""

import json
from functools import cache
from pathlib import Path

from common.words.language import CHINESE, language


def help_said(text: str) -> str:
    """Return a text of --help in the language of what is printed."""
    return help_texts().get(text, text) if language() == CHINESE else text


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
