"""The folder of a stored trace: whether it is one, and its manifest."""

from pathlib import Path
from typing import Any

from align.stored.format import KIND, MANIFEST, SCHEMA, Manifest
from common.documents import adapter, load_object
from common.errors import UnreadableError, UserError


def check_target(folder: Path) -> None:
    """Raise UserError where `folder` is there and is no trace: it would be replaced."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise UserError(f"{folder}: is a file; give a folder to write to")
    if any(folder.iterdir()) and not (folder / MANIFEST).exists():
        raise UserError(f"{folder}: is there and holds no trace; give another folder")


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of the trace in `folder`.

    Raises UnreadableError where there is none, or it is damaged or of another version.
    """
    path = folder / MANIFEST
    data = load_object(path, "give a folder that `--record` wrote")
    if data.get("kind") != KIND:
        raise UnreadableError(f"{path}: is no trace: its kind is {str(data.get('kind'))[:40]!r}")
    check_schema(path, data)
    manifest: Manifest = checked(path, Manifest, data)
    _check_numbers(path, manifest)
    return manifest


def check_schema(path: Path, data: dict[str, Any]) -> None:
    """Raise UnreadableError where `data` is not of this version of the format."""
    found = data.get("schema")
    if found != SCHEMA or isinstance(found, bool):
        raise UnreadableError(
            f"{path}: has schema {found!r}, this version reads {SCHEMA}; record it again, or use "
            "the version of the toolkit that wrote it"
        )


def checked(path: Path, kind: Any, data: Any) -> Any:
    """Return `data` as the dataclass `kind`, every field of its type, no key unknown.

    Raises UnreadableError that names the first field that is not.
    """
    from pydantic import ValidationError

    try:
        return adapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "(the document)"
        raise UnreadableError(f"{path}: is damaged at {place}: {first['msg']}") from None


def _check_numbers(path: Path, manifest: Manifest) -> None:
    """Raise UnreadableError where a call or a module that is named does not exist."""
    count = len(manifest.calls)
    for number, call in enumerate(manifest.calls):
        named = [n for n, _ in (*call.feeds, *call.enters)]
        if call.path not in manifest.modules:
            raise UnreadableError(f"{path}: is damaged at calls.{number}: no module {call.path!r}")
        parent = call.parent
        if any(not 0 <= n < count for n in named) or not (parent is None or 0 <= parent < number):
            raise UnreadableError(f"{path}: is damaged at calls.{number}: names no call")
    if "" not in manifest.modules or not any(call.path == "" for call in manifest.calls):
        raise UnreadableError(f"{path}: is damaged: the root was never called")
