"""Settings of a run: YAML with `_base_`, then `key.sub=value` overrides, then checked and frozen.

A key that nobody reads is an error that names it, its file and the nearest known key.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from common.documents import load_yaml
from common.errors import ConfigError, UnreadableError
from common.files import require_file
from common.settings.own import KIND_OF, named_own
from common.settings.run import Settings

BASE = "_base_"
MOST_BASES = 200  # files that one config may be made of, each time it is named
_EXPLAINED = 50  # wrong keys and values: near names are looked for, which takes its time
COMMAND_LINE = "the command line"
_Path = tuple[str, ...]


def load_settings(path: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """Read a config file, its bases and `key.sub=value` overrides into checked settings.

    Raises:
        ConfigError: the file is missing or no YAML, or a key or value is not allowed.
    """
    origins: dict[_Path, str] = {}
    tree = _read(Path(path), (), origins, [])
    given: dict[str, Any] = {}
    for override in overrides:
        _apply(given, override, origins)
    _merge(tree, named_own(given))
    return check_settings(tree, origins, default_origin=str(path))


def check_settings(
    tree: Mapping[str, Any],
    origins: Mapping[tuple[str, ...], str] | None = None,
    default_origin: str = "settings",
) -> Settings:
    """Check a tree of plain values; `origins` says which file a key came from.

    Raises:
        ConfigError: the wrong keys and values, one a line.
    """
    try:
        # By way of JSON: there, strict types allow a list where a tuple is kept, and nothing else.
        plain = json.dumps(_without_unset(named_own(tree)))
        return _with_classes(Settings.model_validate_json(plain, strict=True))
    except ValidationError as error:
        rows = error.errors(include_url=False)
        lines = [_explain(dict(row), origins or {}, default_origin) for row in rows[:_EXPLAINED]]
        if len(rows) > _EXPLAINED:
            lines.append(f"{default_origin}: and {len(rows) - _EXPLAINED} more")
        raise ConfigError("\n".join(dict.fromkeys(lines))) from None
    except (TypeError, ValueError, RecursionError) as error:  # of what JSON does not hold
        raise ConfigError(f"{default_origin}: {error}") from None


def _with_classes(settings: Settings) -> Settings:
    """Give the net as many classes as the data set has, where the config does not say a number."""
    model = settings.model
    classes = None if "num_classes" in model.model_fields_set else settings.data.classes()
    if classes is None:
        return settings
    model = model.model_copy(update={"num_classes": len(classes)})
    return settings.model_copy(update={"model": model})


def known_keys() -> list[str]:
    """Every dotted key that a config may hold."""
    return [".".join(path) for path in _walk(Settings, ())]


class _Loader(yaml.SafeLoader):
    """YAML where 1e-5 is a number, a date is text, a key stands once and is text, as in JSON."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:int":  # of data.label_map
                key.tag = "tag:yaml.org,2002:str"
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        seen: set[str] = set()
        for number, key in enumerate(keys):
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is no text")
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands twice", node.value[number][0].start_mark
                )
            seen.add(key)
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
        return load_yaml(text, _Loader)
    except yaml.YAMLError as error:
        words = " ".join(str(error).split())
        raise ConfigError(f"{where}: not readable as YAML: {words}") from None


def _meant(path: Path) -> str:
    """Say which config was probably meant, one beside `path` or in the folder configs."""
    folders = (path.parent, path.parent / "configs")
    there = {found.stem: found for folder in folders for found in folder.glob("*.yml")}
    near = difflib.get_close_matches(path.stem, there, n=1)
    return f"; did you mean {there[near[0]]}?" if near else ""


def _text_of(path: Path, through: tuple[Path, ...]) -> tuple[Path, str]:
    """The place of a file, links followed, and what stands in it; ConfigError where it is none."""
    try:
        return path.resolve(), require_file(path).read_text(encoding="utf-8")
    except UnreadableError as error:
        raise ConfigError(str(error)) from None
    except FileNotFoundError:
        asked = f", the {BASE} of {through[-1]}" if through else ""
        raise ConfigError(f"{path}: no such config file{asked}{_meant(path)}") from None
    except (OSError, ValueError, RuntimeError) as error:  # the last of links in a circle
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read: {why}") from None


def _read(
    path: Path, through: tuple[Path, ...], origins: dict[_Path, str], read: list[Path]
) -> dict[str, Any]:
    """The merged tree of a file and its bases; fills `origins` and `read`, the files in order."""
    real, text = _text_of(path, through)
    if real in through:
        chain = " -> ".join(str(p) for p in (*through, real))
        raise ConfigError(f"{path}: its {BASE} leads back to itself: {chain}")
    read.append(real)
    if len(read) > MOST_BASES:
        raise ConfigError(f"{read[0]}: its {BASE} leads to more than {MOST_BASES} files")
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
        _merge(tree, _read(path.parent / base, (*through, real), origins, read))
    _note(own, (), str(path), origins)
    _merge(tree, named_own(own))
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


def _without_unset(tree: Mapping[str, Any]) -> dict[str, Any]:
    """`tree` without keys that are null and that only other kinds of their section have.

    So `data.labels=null` unsets what a base said, whichever data set is chosen then.
    """
    left = dict(tree)
    for name, field in Settings.model_fields.items():
        section, kinds = tree.get(name), _sections(field.annotation)
        if len(kinds) > 1 and isinstance(section, Mapping):
            known = {key for kind in kinds for key in kind.model_fields}
            tag = section.get(str(field.discriminator))
            own = {k for kind in kinds if tag in _tags(kind, field) for k in kind.model_fields}
            foreign = known - own if own else set()
            left[name] = {k: v for k, v in section.items() if v is not None or k not in foreign}
    return left


# Sections in which a key decides which other keys they have; data sets share most of theirs.
NAMED = {
    **{section: kind for section, kind in KIND_OF.items() if section != "data"},
    **dict.fromkeys(("target", "post"), "name"),
}


def _merge(tree: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Lay `over` onto `tree`: sections are merged, everything else is replaced.

    A section of `NAMED` that gets another name begins anew: the other kind's options are not its.
    So does a model that becomes the user's own, or a row again.
    """
    for key, value in over.items():
        below = tree.get(key)
        if key in NAMED and isinstance(value, Mapping) and isinstance(below, dict):
            by = NAMED[key]
            names = {section[by] for section in (below, value) if by in section}
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


class _Place(NamedTuple):
    """Where a finding of pydantic is.

    path: of the key. section: the class around it. around: the field that holds that section, None
    at the root. chosen: the name that chose the class where the field has several, else "".
    """

    path: _Path
    section: type[BaseModel]
    around: FieldInfo | None
    chosen: str


def _explain(row: Mapping[str, Any], origins: Mapping[_Path, str], default: str) -> str:
    """One line for one finding of pydantic."""
    place = _place(row["loc"])
    path = place.path
    origin, key = _origin(path, origins, default), ".".join(path)
    if row["type"] == "extra_forbidden":
        return f"{origin}: unknown key {key}{_whose(place) or _nearest(path, place.section)}"
    if shape := _expected(row, place):
        key = ".".join(part for part in path if not part.isdigit())
        return f"{origin}: {key} is {row['input']!r:.60}: {shape}"
    if row["type"] == "missing":
        origin = origins.get((*path[:-1], "name"), origin)  # what chose the kind of section
        return f"{origin}: {key} is not set, and has no default"
    if row["type"] in ("union_tag_not_found", "union_tag_invalid"):
        field = place.section.model_fields[path[-1]]
        origin = _origin((*path, str(field.discriminator)), origins, default)
        return f"{origin}: {_choice(row, key, field)}"
    message = re.sub(r"^(Value error|Input error), ", "", row["msg"])
    if row["type"] == "value_error":
        return f"{origin}: {key}: {message}" if key else f"{origin}: {message}"
    return f"{origin}: {key} is {row['input']!r:.60}: {message}"


def _expected(row: Mapping[str, Any], place: _Place) -> str:
    """Say by an example what a list or a section is to be; "" where that is not what is wrong."""
    name = next(part for part in reversed(("", *place.path)) if not part.isdigit())
    field = place.section.model_fields.get(name)
    if field is None:
        return ""
    kinds = (field.annotation, *get_args(field.annotation))
    lengths = [len(get_args(kind)) for kind in kinds if get_origin(kind) is tuple]
    counted = row["type"] == "missing" and place.path[-1].isdigit()
    if lengths and (counted or row["type"] in ("too_long", "tuple_type", "list_type")):
        example = (
            field.default if isinstance(field.default, tuple) else (64, 96, 3, 3)[: lengths[0]]
        )
        items = " or ".join(map(str, lengths))
        return f"expected {items} values, such as [{', '.join(map(str, example))}]"
    sections = _sections(field.annotation)
    if sections and row["type"] in ("model_type", "model_attributes_type", "dict_type"):
        keys = list(sections[0].model_fields)
        section = f"{name}: {{{keys[0]}: ...}}"
        return f"expected keys below it, such as {section}; it has {', '.join(keys)}"
    return ""


def _origin(path: _Path, origins: Mapping[_Path, str], default: str) -> str:
    """Where a key was set, or the section around it."""
    longest = max((p for p in origins if p == path[: len(p)]), key=len, default=None)
    return origins[longest] if longest is not None else default


def _choice(row: Mapping[str, Any], key: str, field: FieldInfo) -> str:
    """Say which kinds of section `field` has, where none of them was named."""
    by = f"{key}.{field.discriminator}"
    tags = [tag for kind in _sections(field.annotation) for tag in _tags(kind, field)]
    listed = ", ".join(tags)
    if row["type"] == "union_tag_not_found":
        return f"{by} is not set; choose one of {listed}"
    near = difflib.get_close_matches(row["ctx"]["tag"], tags, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{by} is {row['ctx']['tag']!r}; {hint}Choose one of {listed}"


def _place(location: Sequence[str | int]) -> _Place:
    """Where a finding is; pydantic puts what chose a kind of section behind the section's key."""
    path: list[str] = []
    section: type[BaseModel] = Settings
    kinds: list[type[BaseModel]] = [Settings]
    around = field = None
    chosen = tag = ""
    for part in map(str, location):
        if part.startswith("tuple["):  # which of several lengths
            continue
        if field and len(kinds) > 1:
            kinds, tag = [kind for kind in kinds if part in _tags(kind, field)], part
            continue
        section, around, chosen, tag = kinds[0] if kinds else section, field, tag, ""
        path.append(part)
        field = section.model_fields.get(part)
        kinds = _sections(field.annotation) if field else []
    return _Place(tuple(path), section, around, chosen)


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a key may hold."""
    found = (annotation, *get_args(annotation))
    return [kind for kind in found if isinstance(kind, type) and issubclass(kind, BaseModel)]


def _tags(kind: type[BaseModel], field: FieldInfo | None) -> tuple[str, ...]:
    """The values of `field`'s discriminator that choose this kind of section."""
    by = field.discriminator if field else None
    return get_args(kind.model_fields[by].annotation) if isinstance(by, str) else ()


def _whose(place: _Place) -> str:
    """Say which kinds of the section have the key; empty where none has."""
    name, around = place.path[-1], place.around
    kinds = _sections(around.annotation) if around else []
    owners = [tag for kind in kinds if name in kind.model_fields for tag in _tags(kind, around)]
    return f"; {name} is a setting of {', '.join(owners)}, not of {place.chosen}" if owners else ""


def _nearest(path: _Path, section: type[BaseModel]) -> str:
    """Say which known key was probably meant."""
    *parents, name = path
    prefix = ".".join(parents) + "." if parents else ""
    siblings = sorted(section.model_fields)
    near = difflib.get_close_matches(name, siblings, n=1)
    near = near or [key for key in siblings if key.endswith(f"_{name}")]
    if near:
        return f"; did you mean {prefix}{near[0]}?"
    keys = [key for key in known_keys() if key.rpartition(".")[0] != prefix.rstrip(".")]
    leaves = {key: key.rpartition(".")[2] for key in keys}
    elsewhere = [key for key, leaf in leaves.items() if name == leaf]
    elsewhere += [key for key, leaf in leaves.items() if leaf.endswith(f"_{name}")]
    inside = [key for key in keys if not prefix.startswith(f"{key}.")]
    elsewhere += difflib.get_close_matches(".".join(path), inside, n=1)
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
