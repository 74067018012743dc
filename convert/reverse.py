"""Back to PyTorch: a torch state dict from a file of Paddle (`reverse_checkpoint`)."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from common.documents import checked, json_in
from common.errors import ConversionError, UnreadableError, UserError
from common.files import sha256_of, whole_file
from convert.conversion import RulesLike
from convert.formats.checkpoint import Checkpoint, read_checkpoint, require_framework
from convert.formats.stored import DamagedError
from convert.formats.stream import OnBytes, Writing, same_bytes
from convert.formats.table import output_format
from convert.names.spec import PADDLE, TORCH, joined
from convert.outputs import account_path, files_beside, files_of, writing_alone
from convert.plan.account import ALIAS, DROPPED, SourceRow, TargetRow, value_of
from convert.plan.cast import back
from convert.reverse_names import back_by_net
from convert.together import require_settled

_LIES = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, MemoryError)
_TABLES: Mapping[str, Any] = {
    "source_tensors": list[SourceRow],
    "target_tensors": list[TargetRow],
    "ties": dict[str, str],
}


@dataclass(frozen=True)
class Reversal:
    """A torch state dict that was made from a file of Paddle.

    Attributes:
        state: torch's names -> arrays, in torch's layouts.
        ties: second name -> first name of tensors that are one in the file.
        missing: names of the torch net that the file does not hold.
        by: "account" (of the way there) or "net".
        notes: why the file is not byte for byte the original; empty where it is, by an account.
        output: path, size and SHA-256; empty while nothing is written.
    """

    state: Mapping[str, np.ndarray]
    ties: Mapping[str, str]
    missing: tuple[str, ...]
    by: str
    output: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Return it without the arrays, JSON-ready."""
        rows = asdict(self) | {"state": list(self.state)}
        return {"tensors": len(self.state), **rows}


def reverse_checkpoint(
    path: str | PathLike[str],
    output: str | PathLike[str] | None = None,
    *,
    account: str | PathLike[str] | None = None,
    model: Any = None,
    rules: RulesLike = None,
    key: str | None = None,
    force: bool = False,
    progress: OnBytes | None = None,
    checksum: bool = True,
) -> Reversal:
    """Make a torch state dict from `path`, a file of Paddle; neither framework runs anything.

    Args:
        path: `.pdparams` or `.safetensors` of Paddle.
        output: `.pth` (as torch.save writes it) or `.safetensors`; None writes nothing.
        account: the account of the way there. Default: the one beside `path`, if it is there.
        model: without an account: the net, as for `convert_checkpoint`; None = find out.
        rules: without an account: rules that lead from the wanted names to the net's; they are
            used backwards.
        key, force, progress, checksum: as for `convert_checkpoint`.

    Raises:
        UnreadableError, UserError: a file cannot be read, or there is nothing to go by.
        ConversionError: the file does not fit the account or the net.
    """
    require_settled(files_beside(Path(path)))
    checkpoint = read_checkpoint(path, key)
    require_framework(checkpoint, PADDLE, "the way back")
    beside = account_path(checkpoint.path)
    with ExitStack() as held:
        check = checkpoint.require_unchanged
        if output is not None:
            read = [*checkpoint.files, *files_of(account, rules), *files_beside(checkpoint.path)]
            check = held.enter_context(writing_alone([Path(output)], read, force))
        if account is None and model is None and rules is None and beside.exists():
            account = beside
        if account is not None:
            state, ties, notes = _believed(checkpoint, Path(account), checksum)
            made = Reversal(state, ties, (), "account", {}, notes)
        else:
            state, ties, missing = back_by_net(checkpoint, model, rules)
            made = Reversal(state, ties, missing, "net", {})
        if output is not None:
            return _write(made, Path(output), Writing(TORCH, made.ties, progress, checksum), check)
        check()
        return made


def _write(made: Reversal, output: Path, how: Writing, check: Callable[[], None]) -> Reversal:
    """Write the file; `check` is called before it gets its name."""
    with whole_file(output) as temporary:
        write = output_format(output, TORCH).write
        assert write is not None
        sha256, size = write(made.state, temporary, how)
        check()
    written = {"path": str(output), "bytes": size, "sha256": sha256}
    return replace(made, output=written)


def _believed(
    checkpoint: Checkpoint, path: Path, checksum: bool
) -> tuple[dict[str, np.ndarray], dict[str, str], tuple[str, ...]]:
    """Undo an account that may lie: UnreadableError where its rows contradict each other."""
    try:
        return _by_account(checkpoint, path, checksum)
    except (*_LIES, DamagedError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UnreadableError(f"{path}: its rows contradict each other ({what:.200})") from None


def _by_account(
    checkpoint: Checkpoint, path: Path, checksum: bool
) -> tuple[dict[str, np.ndarray], dict[str, str], tuple[str, ...]]:
    """Undo every row of the account; the result has the order of the original file."""
    document = _load(path)
    targets: dict[str, list[Mapping[str, Any]]] = {}
    for row in document["target_tensors"]:
        if row["source"] is not None:
            targets.setdefault(row["source"], []).append(row)
    dropped = _dropped_file(path, document)
    rounded = kept = 0
    state: dict[str, np.ndarray] = {}
    for row in document["source_tensors"]:
        key, shape = row["key"], tuple(row["shape"])
        if row["became"] == ALIAS:
            state[key] = state[row["to"]]
        elif row["became"] == DROPPED:
            state[key] = _dropped(row, dropped, path)
        else:
            state[key] = _undone(checkpoint, key, shape, targets[key])
            rows = targets[key]
            if cast_from := rows[0].get("cast_from"):
                rounded += any(row["rounded"] for row in rows)
                again = back(state[key], cast_from)
                kept += again is None
                state[key] = state[key] if again is None else again
    ties = {
        second: first
        for second, first in document["ties"].items()
        if same_bytes(state[second], state[first])
    }
    another = checksum and _is_another(checkpoint, document)
    return state, ties, _why_not_identical(another, rounded, kept)


def _is_another(checkpoint: Checkpoint, document: Mapping[str, Any]) -> bool:
    """Tell whether a file is not the one of which the account holds the SHA-256."""
    held = document.get("output", {}).get("sha256")
    return isinstance(held, str) and sha256_of(checkpoint.path) != held


def _why_not_identical(another: bool, rounded: int, kept: int) -> tuple[str, ...]:
    """Say whether the file itself, and of how many tensors values or dtypes do not come back."""
    notes = []
    if another:
        notes.append(
            "the file is not the one that its account was written for (another SHA-256: was it "
            "trained on?): its values come back as they are now"
        )
    if rounded:
        notes.append(
            f"{rounded} tensors were rounded to the net's dtype on the way there: they come back "
            "as they are now, not byte for byte"
        )
    if kept:
        notes.append(
            f"{kept} tensors hold values that the file's dtype does not (were they trained on?): "
            "they come back in the net's dtype"
        )
    return tuple(notes)


def _load(path: Path) -> dict[str, Any]:
    try:
        document = json_in(path)
        if not isinstance(document, dict):
            raise ValueError("it is no table")
        for name, kind in _TABLES.items():
            if name not in document:
                raise ValueError("it has no tables of tensors")
            checked(kind, document[name], name)
        checked(dict[str, Any], document.get("output", {}), "output")
    except (OSError, ValueError, UnreadableError) as error:
        what = " ".join(str(error).split()).replace("the report is damaged", "it is damaged")
        raise UnreadableError(f"{path}: not the account of a conversion: {what}") from None
    return document


def _undone(
    checkpoint: Checkpoint, source: str, shape: tuple[int, ...], rows: list[Mapping[str, Any]]
) -> np.ndarray:
    """Return torch's tensor from the tensors of Paddle that it became."""
    arrays = []
    for row in rows:
        key = row["key"]
        if key not in checkpoint:
            raise ConversionError(f"{key}: stands in the account, but not in {checkpoint.path}")
        array = checkpoint.view(key)
        if array.shape != tuple(row["shape"]) or array.dtype.name != row["dtype"]:
            raise ConversionError(
                f"{key}: the account has {tuple(row['shape'])} {row['dtype']}, the file has "
                f"{array.shape} {array.dtype.name}; was the file made from another checkpoint?"
            )
        arrays.append(array.T if row["transposed"] else array)
    pieces = [row["piece"] for row in rows]
    if pieces[0] is not None:
        order = sorted(range(len(rows)), key=lambda i: pieces[i]["index"])
        is_complex = pieces[0].get("complex", False)
        return joined([arrays[i] for i in order], pieces[0]["axis"], is_complex)
    for row, array in zip(rows[1:], arrays[1:], strict=True):
        if not same_bytes(array, arrays[0]):
            raise ConversionError(
                f"{rows[0]['key']} and {row['key']} were one tensor, {source}, but differ now"
            )
    return arrays[0].reshape(shape)


def _dropped_file(account: Path, document: Mapping[str, Any]) -> Checkpoint | None:
    name = document.get("output", {}).get("dropped")
    if not name:
        return None
    if not isinstance(name, str):
        raise TypeError("output.dropped is no name")
    return read_checkpoint(account.with_name(Path(name).name))


def _dropped(row: Mapping[str, Any], kept: Checkpoint | None, path: Path) -> np.ndarray:
    fields = {**row, "shape": tuple(row["shape"]), "also": tuple(row["also"])}
    value = value_of(SourceRow(**fields))
    if value is not None:
        return value
    if kept is not None and row["key"] in kept:
        return kept.view(row["key"])
    if 0 in row["shape"]:
        return np.zeros(tuple(row["shape"]), row["dtype"])
    raise UserError(f"{path}: the value of the dropped tensor {row['key']} was not kept")
