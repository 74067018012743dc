"""The JSON documents: written a row a line, read with every mistake named (docs/report_json.md)."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align.document_parts import Environment, Settings
from common.errors import UnreadableError, UserError
from common.training.files import whole_file

if TYPE_CHECKING:
    from align.report import Report

SCHEMA_VERSION = 2
# Keys of a report that follow from its other keys.
_DERIVED = ("schema", "kind", "aligned", "exit_code", "verdict")


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


def without_defaults(record: Any) -> dict[str, Any]:
    """Return the fields of a dataclass without those that are None or empty by default."""
    found = {}
    for entry in fields(record):
        value = getattr(record, entry.name)
        if not (_optional(entry) and (value is None or value in ([], {}))):
            found[entry.name] = value
    return found


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all; UserError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write `document` with one row of its tables a line; UserError where it cannot be."""
    write_text(path, _object(document, 0) + "\n")


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


def load_object(path: Path, advice: str) -> dict[str, Any]:
    """Return the JSON object in `path`; UnreadableError, with `advice`, where there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}; {advice}") from None
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{path}: is not JSON: {error}; {advice}") from None
    if not isinstance(data, dict):
        raise UnreadableError(f"{path}: is no JSON object; {advice}")
    return data


def load_json(path: Path) -> dict[str, Any]:
    """Return the document in `path`; UnreadableError where there is none."""
    advice = "give a file that --report wrote"
    data = load_object(path, advice)
    if "schema" not in data:
        raise UnreadableError(f'{path}: is no report: it has no key "schema"; {advice}')
    return data


def check_version(data: Any) -> None:
    """Raise UnreadableError where `data` is not a document of this version."""
    found = data.get("schema") if isinstance(data, dict) else None
    if found != SCHEMA_VERSION or isinstance(found, bool):
        raise UnreadableError(
            f"the report has schema {found!r}, this version reads {SCHEMA_VERSION}; "
            "make it again, or use the version of the toolkit that wrote it"
        )


def report_from(data: Any) -> "Report":
    """Return the report that `data` says; UnreadableError names the first thing that misfits."""
    from align.report import Report

    check_version(data)
    if data.get("kind") != "report":
        raise UnreadableError(f"the document is a {data.get('kind')!r}, not a report of one stage")
    own = {key: value for key, value in data.items() if key not in _DERIVED}
    _check_calls(own.get("calls"))
    report: Report = checked(Report, own)
    checked(Settings, report.settings, "settings")
    checked(Environment, report.environment, "environment")
    for key in ("exit_code", "verdict"):
        if data.get(key) != getattr(report, key):
            raise UnreadableError(
                f"the report says {key} {data.get(key)!r}, its calls say {getattr(report, key)!r}: "
                "it was changed by hand or is not whole"
            )
    return report


def _check_calls(calls: Any) -> None:
    """Raise where a comparison lacks what is always written: a default is no finding."""
    from align.judge import DIFFERS, EQUAL, NOISE, UNCHECKED, Comparison

    always = [entry.name for entry in fields(Comparison) if not _optional(entry)]
    for number, call in enumerate(calls if isinstance(calls, list) else ()):
        absent = [name for name in always if isinstance(call, dict) and name not in call]
        if absent:
            raise UnreadableError(f"the report is damaged at calls.{number}: no {absent[0]}")
        if isinstance(call, dict) and call["verdict"] not in (EQUAL, DIFFERS, NOISE, UNCHECKED):
            raise UnreadableError(
                f"the report is damaged at calls.{number}.verdict: {call['verdict']!r}"
            )


def _optional(entry: Any) -> bool:
    return entry.default is None or entry.default_factory is not MISSING


def checked(kind: Any, data: Any, place: str = "") -> Any:
    """Return `data` as `kind`, every field of its type; of a dataclass no key is unknown.

    `place` is where in the document `data` stands.

    Raises UnreadableError that names the first field that is not.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(filter(None, (place, *map(str, first["loc"])))) or "(the document)"
        raise UnreadableError(f"the report is damaged at {at}: {first['msg']}") from None
