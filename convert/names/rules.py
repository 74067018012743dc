"""Rules files: how a source of checkpoints names its tensors. The format: docs/rules.md.

A name goes through `renames`, one after the other, then the first matching drop, split or alias.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from common.documents import load_yaml
from common.errors import ConfigError, UnreadableError
from common.files import require_file
from common.words.patterns import fault_of, matches, replaced
from convert.names.spec import BATCH_NORM, KINDS, LINEAR, Piece

_SHIPPED = Path(__file__).parents[1] / "rules"


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _pattern(text: str) -> str:
    if fault := fault_of(text):
        raise ValueError(f"not a regular expression: {fault}")
    return text


LONGEST = 4096  # letters of a name: rules may let one grow
_EXPLAINED = 20  # findings of a file that are told
Pattern = Annotated[str, Field(min_length=1, max_length=LONGEST), AfterValidator(_pattern)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rename(_Strict):
    """`match` (a regular expression, found anywhere in the name) becomes `to` (with \\1, \\2)."""

    match: Pattern
    to: Annotated[str, Field(max_length=LONGEST)]

    @model_validator(mode="after")
    def _check_groups(self) -> "Rename":
        try:
            re.sub(self.match, self.to, "")
        except (re.error, IndexError) as error:
            raise ValueError(f"to: {self.to!r} does not fit match: {error}") from None
        return self

    def apply(self, name: str) -> str:
        """Return `name` with every match replaced; ConfigError where that is no name any more."""
        made = replaced(self.match, self.to, name)
        if len(made) > LONGEST:
            raise ConfigError(f"the rule {self.match!r} makes a name of {len(made)} letters")
        return made


class Alias(Rename):
    """A second name of the tensor that `to` gives; its value must be that tensor's."""


class Drop(_Strict):
    """A tensor that the Paddle net does not have, and why."""

    match: Pattern
    reason: Annotated[str, Field(min_length=1)]


class Split(_Strict):
    """A tensor of the file that is several of the net, one after the other along `axis`.

    `into` are the names of the pieces; they are equal unless `sizes` says how long each is. Of a
    `complex` tensor they are its real and its imaginary part.
    """

    match: Pattern
    into: Annotated[tuple[str, ...], Field(min_length=2)]
    axis: Annotated[int, Field(ge=0)] = 0
    sizes: tuple[Annotated[int, Field(gt=0)], ...] | None = None
    complex: bool = False

    @model_validator(mode="after")
    def _check(self) -> "Split":
        if self.complex and (len(self.into) != 2 or self.sizes is not None or self.axis):
            raise ValueError("complex: takes two names, the real and the imaginary part's, alone")
        for to in self.into:
            Rename(match=self.match, to=to)
        if self.sizes is not None and len(self.sizes) != len(self.into):
            raise ValueError(f"sizes: {len(self.sizes)} for {len(self.into)} names")
        return self

    def pieces(self, name: str) -> list[tuple[str, Piece]]:
        """Return (name, piece) of each piece of the tensor called `name`."""
        count = len(self.into)
        return [
            (replaced(self.match, to, name), Piece(i, count, self.axis, self.sizes, self.complex))
            for i, to in enumerate(self.into)
        ]


class Absent(_Strict):
    """A tensor of the Paddle net that the source does not have, and why that is right."""

    match: Pattern
    reason: Annotated[str, Field(min_length=1)]


class Reshape(_Strict):
    """A tensor of the Paddle net whose values the source holds in another shape.

    Of `boundaries`, one that a layer takes or returns: alignment alone asks for it.

    `shape` is the source's, in torch's layout ([] of a number, which Paddle may hold as [1]); the
    order of the elements is the same.
    """

    match: Pattern
    shape: tuple[Annotated[int, Field(gt=0)], ...]


class LayerKind(_Strict):
    """What kind of layer holds a tensor in torch; it decides the layout of a matrix."""

    match: Pattern
    kind: str


class Layout(_Strict):
    """A matrix of the net whose layout in torch is not that of its kind of layer.

    Written as a mapping, or as the regular expression alone.
    """

    match: Pattern
    reason: str = ""

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, value: Any) -> Any:
        return {"match": value} if isinstance(value, str) else value


Layouts = tuple[Layout, ...]


class Rules(_Strict):
    """The contents of one rules file, or of several in a row."""

    renames: tuple[Rename, ...] = ()
    splits: tuple[Split, ...] = ()
    drops: tuple[Drop, ...] = ()
    aliases: tuple[Alias, ...] = ()
    absent: tuple[Absent, ...] = ()
    reshapes: tuple[Reshape, ...] = ()
    boundaries: tuple[Reshape, ...] = ()
    kinds: tuple[LayerKind, ...] = ()
    keep: Annotated[Layouts, BeforeValidator(_listed)] = ()
    transpose: Annotated[Layouts, BeforeValidator(_listed)] = ()
    rows: tuple[str, ...] = ()
    framework: Literal["torch", "paddle"] = "torch"
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __add__(self, other: "Rules") -> "Rules":
        lists = [name for name, value in self if isinstance(value, tuple)]
        joined = {name: getattr(self, name) + getattr(other, name) for name in lists}
        framework = self.framework if self.framework == "paddle" else other.framework
        return Rules(**joined, framework=framework, options={**self.options, **other.options})

    def absence(self, key: str) -> str | None:
        """Return why the source lacks the net's tensor `key`, None if it should have it."""
        return next((a.reason for a in self.absent if matches(a.match, key)), None)

    def shape(self, key: str) -> tuple[int, ...] | None:
        """Return the shape in which the source holds the net's tensor `key`, None: its own."""
        return next((r.shape for r in self.reshapes if matches(r.match, key)), None)

    def kind(self, key: str) -> str | None:
        """Return the kind of layer that the file says holds `key`, None if it does not say.

        Raises ConfigError for a kind that does not exist.
        """
        kind = next((k.kind for k in self.kinds if matches(k.match, key)), None)
        if kind is not None and kind not in KINDS and kind != BATCH_NORM:
            raise ConfigError(f"{key}: no kind is called {kind!r}; there are: {', '.join(KINDS)}")
        return kind

    def transposed(self, *names: str) -> bool | None:
        """Return whether torch holds a matrix the other way round, None if the file does not say.

        `names` are the net's and torch's. Raises ConfigError where the file says both.
        """
        keep, transpose = (
            any(matches(rule.match, name) for rule in rules for name in names)
            for rules in (self.keep, self.transpose)
        )
        if keep and transpose:
            raise ConfigError(f"{names[0]}: `keep` and `transpose` both match it")
        if keep or transpose:
            return transpose
        kinds = [kind for name in names if (kind := self.kind(name)) is not None]
        return kinds[0] == LINEAR if kinds else None

    def unmatched_layouts(self, names: Iterable[str]) -> list[str]:
        """Return, in words, the rules about layouts that match none of `names`."""
        known = list(names)
        rules = (("keep", self.keep), ("transpose", self.transpose), ("kinds", self.kinds))
        return [
            f"the rule {list_}: {rule.match!r} matches no tensor of the net"
            for list_, given in rules
            for rule in given
            if not any(matches(rule.match, name) for name in known)
        ]


@dataclass
class Names:
    """What the rules make of the keys of one file.

    Attributes:
        sources: name in the net -> key of the file.
        aliases: key of the file -> other key of the file whose value it must have.
        dropped: key of the file -> reason.
        clashes: one sentence for each pair of keys that claim the same name.
        pieces: name in the net -> (key of the file, which piece of it).
    """

    sources: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    clashes: list[str] = field(default_factory=list)
    pieces: dict[str, tuple[str, Piece]] = field(default_factory=dict)


def load_rules(source: "str | PathLike[str] | Mapping[str, Any] | Rules | None") -> Rules:
    """Return the rules of a file, of a shipped file by its name ("stdc"), or of None: no rules.

    A mapping is what a file holds. Raises ConfigError naming file, place and problem.
    """
    if source is None or isinstance(source, Rules):
        return source or Rules()
    if isinstance(source, Mapping):
        return _validated(source, "rules")
    shipped = _SHIPPED / f"{source}.yml"
    path = shipped if shipped.is_file() and shipped.parent == _SHIPPED else Path(source)
    try:
        content = load_yaml(require_file(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        names = ", ".join(sorted(file.stem for file in _SHIPPED.glob("*.yml")))
        raise ConfigError(f"{source}: cannot read rules ({error}); shipped: {names}") from None
    except UnreadableError as error:
        raise ConfigError(f"cannot read rules: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    return _validated({} if content is None else content, str(path))


def _validated(content: Any, name: str) -> Rules:
    try:
        return Rules.model_validate(content)
    except ValidationError as error:
        found = error.errors()
        lines = [_line(row["loc"], row["msg"]) for row in found[:_EXPLAINED]]
        lines += [f"and {len(found) - _EXPLAINED} more"] if len(found) > _EXPLAINED else []
        raise ConfigError(f"{name}: " + "; ".join(lines)) from None


def _line(location: Sequence[Any], message: str) -> str:
    place = ".".join(map(str, location)) or "file"
    return f"{place[:80]}: {message[:300]}"


def shipped_rules(names: Iterable[str]) -> Rules:
    """Return the shipped rules called `names`, one after the other."""
    rules = Rules()
    for name in names:
        rules += load_rules(name)
    return rules


def shipped_for_paddle(row: str) -> list[Rules]:
    """Return the shipped rules for files that have Paddle's names and layouts and hold `row`."""
    found = (load_rules(path.stem) for path in sorted(_SHIPPED.glob("*.yml")))
    return [rules for rules in found if rules.framework == "paddle" and row in rules.rows]


def resolve(keys: Iterable[str], rules: Rules, prefix: str = "") -> Names:
    """Give every key of a file its name in the net, below `prefix` ("cp.backbone.").

    A second name stands in for the first where the file lacks the first.
    """
    names = Names()
    second_names: list[tuple[str, str]] = []
    for key in keys:
        name = key
        for rename in rules.renames:
            name = rename.apply(name)
        drop = next((drop for drop in rules.drops if matches(drop.match, name)), None)
        alias = next((alias for alias in rules.aliases if matches(alias.match, name)), None)
        split = next((split for split in rules.splits if matches(split.match, name)), None)
        if drop:
            names.dropped[key] = drop.reason
        elif split:
            for part, piece in split.pieces(name):
                if prefix + part in names.pieces or prefix + part in names.sources:
                    names.clashes.append(f"a piece of {key} and another tensor both become {part}")
                names.pieces[prefix + part] = (key, piece)
        elif alias:
            second_names.append((key, prefix + alias.apply(name)))
        elif prefix + name in names.sources or prefix + name in names.pieces:
            first = names.sources.get(prefix + name) or names.pieces[prefix + name][0]
            names.clashes.append(f"{first} and {key} both become {name}")
        else:
            names.sources[prefix + name] = key
    for key, name in second_names:
        first = names.sources.setdefault(name, key)
        if first != key:
            names.aliases[key] = first
    return names
