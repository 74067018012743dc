"""What reports say, as data: a kind and its values, of which the text is made in either language.

Each kind has one row in `words.json`: its English, its Chinese, with places for the same values.
A value may be words again.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from string import Formatter
from typing import Any, TypeVar

from typing_extensions import Self

from common.words.language import CHINESE, ENGLISH, language, recognised
from common.words.texts import in_chinese

ROOT = "(root)"  # a net as one layer
OPTIMIZER = "(optimizer)"  # whose fault what it did to any weight is
SCHEDULE = "(schedule)"  # where a report tells the lines of what sets the rate
AVERAGE = "(average)"  # of the weights: where it is off by one number for all of them

# What stands for a layer, or is a kind of tensor, and is a word: pattern -> its Chinese.
_IN_CHINESE: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (
        re.compile(r"\bmade batch((?: \d+)?) \(([^()]*)\)"),
        lambda found: f"构造批次{found[1]}（{_case_in_chinese(found[2])}）",
    ),
    (re.compile(r"\(root\)"), "（整网）"),
    (re.compile(r"\(loss\)"), "（损失）"),
    (re.compile(r"\(optimizer\)"), "（优化器）"),
    (re.compile(r"\(schedule\)"), "（学习率策略）"),
    (re.compile(r"\(average\)"), "（滑动平均）"),
    (re.compile(r"\bbatch (\d+)\b"), r"批次 \1"),
    (re.compile(r"\battribute:(?=\w)"), "属性 "),
)

# Words that only say what somebody else wrote: an older file, a rule, an error of the net.
TOLD = "told"


@cache
def table() -> dict[str, list[str]]:
    """Return {kind: [English, Chinese]}."""
    text = Path(__file__).with_name("words.json").read_text(encoding="utf-8")
    sections: list[Any] = json.loads(text, object_pairs_hook=list)
    rows = [row for _, section in sections for row in section]
    found = dict(rows)
    assert len(found) == len(rows), "words.json has a kind twice"
    return found


def _case_in_chinese(text: str) -> str:
    """Return what a made batch is called in Chinese; what nobody calls so stays as it is."""
    for kind, (english, chinese) in table().items():
        if kind.startswith("made_"):
            asked = re.escape(english).replace(r"\{index\}", r"(?P<index>\d+)")
            if found := re.fullmatch(asked, text):
                return chinese.format(**found.groupdict())
    return text


class Words(str):
    """English words that know what they say.

    They are a text wherever one is wanted: causes and notes are texts in public and in files.
    `kind` and `values` are what it is made of; code asks these, never the text.
    """

    kind: str
    values: Mapping[str, Any]

    def __new__(cls, kind: str, /, **values: Any) -> Self:
        """Say `kind` of words.json with `values`, which are all that its row has places for."""
        plain = {name: _plain(value) for name, value in values.items()}
        made = super().__new__(cls, _filled(kind, plain, ENGLISH))
        made.kind, made.values = kind, plain
        return made

    @classmethod
    def told(cls, text: str) -> Self:
        """Return a text that no kind is known of; itself where one is."""
        return text if isinstance(text, cls) else cls(TOLD, text=text)

    @property
    def chinese(self) -> str:
        """The same in Chinese; of what somebody else wrote what the phrases know."""
        if self.kind == TOLD:
            return recognised(str(self))
        return _filled(self.kind, self.values, CHINESE)

    def parts(self) -> Iterator["Words"]:
        """Yield these words and all that they are made of."""
        yield self
        for value in self.values.values():
            if isinstance(value, Words):
                yield from value.parts()

    def has(self, *kinds: str) -> bool:
        """Tell whether these words, or any that they are made of, are of one of `kinds`."""
        return any(part.kind in kinds for part in self.parts())

    def begins(self, kind: str) -> bool:
        """Tell whether the first thing that these words say is of `kind`."""
        first: Words = self
        while first.kind == "also":
            first = first.values["first"]
        return first.kind == kind

    def to_dict(self) -> dict[str, Any]:
        """Return kind and values as plain data."""
        values = {
            name: value.to_dict() if isinstance(value, Words) else value
            for name, value in self.values.items()
        }
        return {"kind": self.kind, **values}

    @classmethod
    def from_dict(cls, data: Any, text: str) -> Self:
        """Return the words that `to_dict` made `data` of, where they say `text`; else `text`."""
        if not isinstance(data, dict):
            return cls.told(text)
        try:
            made = _made(cls, data)
        except (KeyError, TypeError, ValueError, RecursionError):  # of another version, or damaged
            return cls.told(text)
        return made if made == text else cls.told(text)

    def __deepcopy__(self, memo: Any) -> Self:
        """Return itself: it does not change."""
        return self

    def __reduce__(self) -> Any:
        """Return how it is made again."""
        return _made, (type(self), self.to_dict())


class Cause(Words):
    """Why something differs, or could not be checked."""

    def also(self, other: "Cause | None") -> "Cause":
        """Return both causes, this one first."""
        return self if other is None else Cause("also", first=self, second=other)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Read any text as a cause."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(
            cls.told, core_schema.is_instance_schema(str)
        )


_Said = TypeVar("_Said", bound=Words)


def joined(causes: Iterable[Cause | None]) -> Cause | None:
    """Return all causes that there are as one, each once; None for none."""
    found: Cause | None = None
    for cause in dict.fromkeys(filter(None, causes)):
        found = cause if found is None else found.also(cause)
    return found


def listed(words: Sequence[_Said], kind: str = "and") -> _Said:
    """Return words, one at least, one after the other with the comma of either language."""
    found = words[0]
    for word in words[1:]:
        found = type(found)(kind, first=found, second=word)
    return found


def first_of(names: Sequence[str], most: int) -> str:
    """Say the first names, and how many more there are."""
    said = listed([Words.told(name) for name in names[:most]])
    more = len(names) - most
    return Words("and_more", names=said, count=more) if more > 0 else said


def in_both(text: str | None) -> list[str]:
    """Return `text` in English and in Chinese; twice as it is where nobody knows what it says."""
    english = str(text or "")
    chinese = text.chinese if isinstance(text, Words) else recognised(english)
    for name, words in _IN_CHINESE:
        chinese = name.sub(words, chinese)
    return [english, chinese]


def outcome(text: str | None) -> list[str]:
    """Return in both languages what a rung came to: words, or an error that ended it."""
    english, chinese = in_both(text)
    return [english, in_chinese(english) if chinese == english else chinese]


def printed(text: str | None) -> str:
    """Return `text` in the language of what commands print."""
    return in_both(text)[language()]


def kinds_of(texts: Iterable[str | None]) -> dict[str, dict[str, Any]]:
    """Return {text: what it says, as plain data} of those that know it."""
    known = (text for text in texts if isinstance(text, Words) and text.kind != TOLD)
    return {str(text): text.to_dict() for text in known}


def _made(cls: type[Words], data: Any) -> Any:
    values = {
        name: _made(Words, value) if isinstance(value, dict) else value
        for name, value in data.items()
        if name != "kind"
    }
    return cls(data["kind"], **values)


def _plain(value: Any) -> Any:
    """Return `value` as words or JSON hold it: a number, a text or other words."""
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if abs(number) < float("inf") else f"{number:g}"
    return format(value)


class _Text(Formatter):
    """Fills one row's text; the values are no more and no fewer than it has places for."""

    def __init__(self, language: int) -> None:
        self.language = language

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, Words):
            return str(value) if self.language == ENGLISH else value.chinese
        return value if isinstance(value, str) else format(value, format_spec)

    def check_unused_args(self, used_args: Any, args: Any, kwargs: Any) -> None:
        if set(kwargs) - set(used_args):
            raise ValueError(f"words.json has no place for {sorted(set(kwargs) - set(used_args))}")


def _filled(kind: str, values: Mapping[str, Any], language: int) -> str:
    return _Text(language).vformat(table()[kind][language], (), values)
