"""JSON documents as dataclasses: written whole, read strictly."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any

from common.errors import UnreadableError
from common.files import make_folder, require_file, whole_file

# Of the dataclasses that are read back: an unknown key is an error.
STRICT: Any = {"extra": "forbid"}


def plain(value: Any) -> Any:
    """Return `value` as JSON takes it: "nan" and "inf" are texts, tuples lists."""
    if isinstance(value, float) and value != value:
        return "nan"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def with_null(value: Any) -> Any:
    """Return numbers, in mappings of mappings or alone, with None for what is not finite."""
    if isinstance(value, Mapping):
        return {key: with_null(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def without_defaults(record: Any) -> dict[str, Any]:
    """Return the fields of a dataclass without those that are None or empty by default."""
    found = {}
    for entry in fields(record):
        value = getattr(record, entry.name)
        if not (is_optional(entry) and (value is None or value in ([], {}))):
            found[entry.name] = value
    return found


def with_whole_letters(text: str) -> str:
    """Return `text` as UTF-8 can hold it: names of files that are no text have halves of letters.

    They become `\\udc80`, which in JSON is that same half.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all; makes the folder.

    Raises UserError where it cannot be written.
    """
    make_folder(path.parent)
    with whole_file(path) as draft:
        draft.write_text(with_whole_letters(text), encoding="utf-8")


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write `document` as `json_text` has it; UserError where it cannot be."""
    write_text(path, json_text(document))


def json_text(document: Mapping[str, Any]) -> str:
    """Return `document` as JSON with one row of its tables a line."""
    return _object(document, 0) + "\n"


def _object(value: Mapping[str, Any], depth: int) -> str:
    """Return JSON text in which the tables of the first levels have a line for each row."""
    lines = []
    for key, entry in value.items():
        lines.append(f"{' ' * (depth + 1)}{_text(key)}: {_entry(entry, depth + 1)}")
    return "{\n" + ",\n".join(lines) + f"\n{' ' * depth}}}"


def _entry(value: Any, depth: int) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        tables = any(isinstance(entry.get("calls"), list) for entry in value)
        rows = [_object(entry, depth + 1) if tables else _text(entry) for entry in value]
        gap = " " * (depth + 1)
        return "[\n" + ",\n".join(gap + row for row in rows) + f"\n{' ' * depth}]"
    if isinstance(value, dict) and value and all(isinstance(v, dict) for v in value.values()):
        return _object(value, depth) if depth < 4 else _text(value)
    return _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


YAML_TIMES, YAML_LEAST = 4, 10_000  # values, by the letters of a text; of any text
YAML_MOST = 2_000_000  # letters: a second reads a hundred thousand


def load_yaml(text: str, loader: Any = None) -> Any:
    """Return what a YAML text says; `loader` is a class of PyYAML, the safe one by default.

    Raises yaml.YAMLError, also where aliases make much of little, or values are none of their kind.
    """
    import yaml

    if len(text) > YAML_MOST:
        raise yaml.YAMLError(f"it has {len(text)} letters, more than {YAML_MOST}")
    reader = (loader or yaml.SafeLoader)(text)
    try:
        node = reader.get_single_node()
        if node is None:
            return None
        if _values_of(node, {}) > max(YAML_LEAST, YAML_TIMES * len(text)):
            raise yaml.YAMLError("its aliases make it many times as large as it is")
        return reader.construct_document(node)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise yaml.YAMLError(f"a value is none of its kind: {error}") from None
    finally:
        reader.dispose()


def _values_of(node: Any, known: dict[int, int | None]) -> int:
    """Return how many values a node is with its aliases written out; `known` by id."""
    import yaml

    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) in known:
        if (count := known[id(node)]) is None:
            raise yaml.YAMLError("an alias holds itself")
        return count
    known[id(node)] = None
    parts = (pair for both in node.value for pair in (both if isinstance(both, tuple) else (both,)))
    known[id(node)] = count = 1 + sum(_values_of(part, known) for part in parts)
    return count


def json_of(text: str) -> Any:
    """Return what a JSON text says; ValueError where it is none, or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def json_in(path: Path) -> Any:
    """Return what the JSON file `path` says.

    Raises OSError, ValueError where it is none, UnreadableError where it is no file.
    """
    return json_of(require_file(path).read_text(encoding="utf-8"))


def load_object(path: Path, advice: str) -> dict[str, Any]:
    """Return the JSON object in `path`; UnreadableError, with `advice`, where there is none."""
    try:
        data = json_in(path)
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}; {advice}") from None
    except ValueError as error:
        raise UnreadableError(f"{path}: is not JSON: {error}; {advice}") from None
    if not isinstance(data, dict):
        raise UnreadableError(f"{path}: is no JSON object; {advice}")
    return data


def is_optional(entry: Any) -> bool:
    """Tell whether a dataclass' field says nothing by default: None, or empty."""
    return entry.default is None or entry.default_factory is not MISSING


@cache
def adapter(kind: Any) -> Any:
    """Return what checks that data is of `kind`; making it takes longer than checking."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def checked(kind: Any, data: Any, place: str = "", what: str = "the report") -> Any:
    """Return `data` as `kind`, every field of its type; of a dataclass no key is unknown.

    `place` is where in the document, which is `what`, `data` stands.

    Raises UnreadableError that names the first field that is not.
    """
    from pydantic import ValidationError

    try:
        return adapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(filter(None, (place, *map(str, first["loc"])))) or "(the document)"
        raise UnreadableError(f"{what} is damaged at {at[:200]}: {first['msg'][:300]}") from None
