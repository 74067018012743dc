"""Settings of a run: YAML with `_base_`, then `key.sub=value` overrides, then checked and frozen.

A key that nobody reads is an error that names it, its file and the nearest known key.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from common.errors import ConfigError
from common.settings.run import Settings

BASE = "_base_"
COMMAND_LINE = "the command line"
_Path = tuple[str, ...]


def load_settings(path: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """Read a config file, its bases and `key.sub=value` overrides into checked settings.

    Raises:
        ConfigError: the file is missing or no YAML, or a key or value is not allowed.
    """
    origins: dict[_Path, str] = {}
    tree = _read(Path(path), (), origins)
    given: dict[str, Any] = {}
    for override in overrides:
        _apply(given, override, origins)
    _merge(tree, given)
    return check_settings(tree, origins, default_origin=str(path))


def check_settings(
    tree: Mapping[str, Any],
    origins: Mapping[tuple[str, ...], str] | None = None,
    default_origin: str = "settings",
) -> Settings:
    """Check a tree of plain values; `origins` says which file a key came from.

    Raises:
        ConfigError: every wrong key and value, one a line.
    """
    try:
        # By way of JSON: there, strict types allow a list where a tuple is kept, and nothing else.
        return Settings.model_validate_json(json.dumps(tree), strict=True)
    except TypeError as error:
        raise ConfigError(f"{default_origin}: {error}") from None
    except ValidationError as error:
        lines = [
            _explain(dict(row), origins or {}, default_origin)
            for row in error.errors(include_url=False)
        ]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from None


def known_keys() -> list[str]:
    """Every dotted key that a config may hold."""
    return [".".join(path) for path in _walk(Settings, ())]


class _Loader(yaml.SafeLoader):
    """YAML where 1e-5 is a number, a date is text and a key stands once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for number, key in enumerate(keys):
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is no text")
            if key in keys[:number]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands twice", node.value[number][0].start_mark
                )
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [row for row in rows if row[0] != "tag:yaml.org,2002:timestamp"]
    for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{where}: not readable as YAML: {error}") from None


def _read(path: Path, through: tuple[Path, ...], origins: dict[_Path, str]) -> dict[str, Any]:
    """The merged tree of a file and its bases; fills `origins`."""
    real = path.resolve()
    if real in through:
        chain = " -> ".join(str(p) for p in (*through, real))
        raise ConfigError(f"{path}: its {BASE} leads back to itself: {chain}")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        asked = f", the {BASE} of {through[-1]}" if through else ""
        raise ConfigError(f"{path}: no such config file{asked}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    own = _parse(text, str(path))
    own = {} if own is None else own
    if not isinstance(own, dict):
        raise ConfigError(f"{path}: expected sections such as `train:`, got {own!r:.60}")
    bases = own.pop(BASE, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"{path}: {BASE} is {bases!r}; give a path or a list of paths")
    tree: dict[str, Any] = {}
    for base in bases:
        _merge(tree, _read(path.parent / base, (*through, real), origins))
    _note(own, (), str(path), origins)
    _merge(tree, own)
    return tree


def _apply(tree: dict[str, Any], override: str, origins: dict[_Path, str]) -> None:
    """Put one `key.sub=value` into the tree; the value is YAML and may hold further `=`."""
    key, equals, text = override.partition("=")
    path = tuple(key.split("."))
    if not equals or not all(path):
        raise ConfigError(f"{override!r}: expected key.sub=value, e.g. train.iterations=300")
    value = _parse(text, f"value of {key}")
    _note_one(path, COMMAND_LINE, origins)
    nested: Any = value
    for part in reversed(path):
        nested = {part: nested}
    _merge(tree, nested)


# Sections whose `name` decides which keys they have.
NAMED = ("loss", "optimizer", "schedule", "augmentation")


def _merge(tree: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Lay `over` onto `tree`: sections are merged, everything else is replaced.

    A section of `NAMED` that gets another name begins anew: the other kind's options are not its.
    """
    for key, value in over.items():
        below = tree.get(key)
        if key in NAMED and isinstance(value, Mapping) and isinstance(below, dict):
            names = {section["name"] for section in (below, value) if "name" in section}
            tree[key] = {} if len(names) > 1 else below
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        elif isinstance(value, Mapping):
            tree[key] = {}
            _merge(tree[key], value)
        else:
            tree[key] = value


def _note(tree: Mapping[str, Any], at: _Path, origin: str, origins: dict[_Path, str]) -> None:
    for key, value in tree.items():
        origins[(*at, key)] = origin
        if isinstance(value, Mapping):
            _note(value, (*at, key), origin, origins)


def _note_one(path: _Path, origin: str, origins: dict[_Path, str]) -> None:
    for length in range(1, len(path) + 1):
        if length == len(path) or path[:length] not in origins:
            origins[path[:length]] = origin


def _explain(row: Mapping[str, Any], origins: Mapping[_Path, str], default: str) -> str:
    """One line for one finding of pydantic."""
    path, section = _place(row["loc"])
    longest = max((p for p in origins if p == path[: len(p)]), key=len, default=None)
    origin = origins[longest] if longest is not None else default
    key = ".".join(path)
    if row["type"] == "extra_forbidden":
        return f"{origin}: unknown key {key}{_nearest(path, section)}"
    if row["type"] == "missing":
        origin = origins.get((*path[:-1], "name"), origin)  # what chose the kind of section
        return f"{origin}: {key} is not set, and has no default"
    if row["type"] == "union_tag_not_found":
        return f"{origin}: {key}.name is not set; choose one of {_tags(row)}"
    if row["type"] == "union_tag_invalid":
        near = difflib.get_close_matches(row["ctx"]["tag"], _tags(row).split(", "), n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"{origin}: {key}.name is {row['ctx']['tag']!r}; {hint}Choose one of {_tags(row)}"
    message = re.sub(r"^(Value error|Input error), ", "", row["msg"])
    if row["type"] == "value_error":
        return f"{origin}: {key}: {message}" if key else f"{origin}: {message}"
    return f"{origin}: {key} is {row['input']!r:.60}: {message}"


def _tags(row: Mapping[str, Any]) -> str:
    """The names that a section may have, separated by ", "."""
    path, section = _place(row["loc"])
    kinds = _sections(section.model_fields[path[-1]].annotation)
    return ", ".join(name for kind in kinds for name in _names(kind))


def _place(location: Sequence[str | int]) -> tuple[_Path, type[BaseModel]]:
    """Where a finding of pydantic is: the key's path, and the class of the section around it.

    Pydantic puts the name of a section that has several kinds behind its key.
    """
    path: list[str] = []
    section: type[BaseModel] = Settings
    kinds: list[type[BaseModel]] = [Settings]
    for part in map(str, location):
        if len(kinds) > 1:
            kinds = [kind for kind in kinds if part in _names(kind)]
            continue
        section = kinds[0] if kinds else section
        path.append(part)
        field = section.model_fields.get(part)
        kinds = _sections(field.annotation) if field else []
    return tuple(path), section


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a key may hold."""
    found = (annotation, *get_args(annotation))
    return [kind for kind in found if isinstance(kind, type) and issubclass(kind, BaseModel)]


def _names(kind: type[BaseModel]) -> tuple[str, ...]:
    """The names that choose this kind of section."""
    return get_args(kind.model_fields["name"].annotation) if "name" in kind.model_fields else ()


def _nearest(path: _Path, section: type[BaseModel]) -> str:
    """Say which known key was probably meant."""
    *parents, name = path
    prefix = ".".join(parents) + "." if parents else ""
    siblings = sorted(section.model_fields)
    near = difflib.get_close_matches(name, siblings, n=1)
    if near:
        return f"; did you mean {prefix}{near[0]}?"
    keys = [key for key in known_keys() if key.rpartition(".")[0] != prefix.rstrip(".")]
    leaves = {key: key.rpartition(".")[2] for key in keys}
    elsewhere = [key for key, leaf in leaves.items() if name == leaf]
    elsewhere += [key for key, leaf in leaves.items() if leaf.endswith(f"_{name}")]
    elsewhere += difflib.get_close_matches(".".join(path), keys, n=1)
    if elsewhere:
        return f"; did you mean {elsewhere[0]}?"
    return f"; {prefix.rstrip('.') or 'a config'} has: {', '.join(siblings)}"


def _walk(model: type[BaseModel], at: _Path) -> Sequence[_Path]:
    found: list[_Path] = []
    for name, field in model.model_fields.items():
        found.append((*at, name))
        for kind in _sections(field.annotation):
            found.extend(path for path in _walk(kind, (*at, name)) if path not in found)
    return found
