"""The files of one conversion, which appear together or not at all.

Renames are one after another, and a run can be killed between them. So all drafts are finished
first, and then a record of the renames is written: from then on the conversion holds. The old
account goes before the weights change and the new one comes last, so that at no moment an account
stands beside weights that are not its own. What a kill left undone, `settle` does from the record.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from common.documents import json_in
from common.errors import UnreadableError, UserError
from common.files import OLD, TRASH, sweep_drafts, sync, whole_file, writing_in
from common.locks import only_writer_of, was_held


@dataclass(frozen=True)
class Leftovers:
    """What a killed conversion had left: files that are completed now, drafts that are removed."""

    completed: tuple[Path, ...] = ()
    swept: tuple[Path, ...] = ()


@contextmanager
def whole_files(names: Sequence[Path]) -> Iterator[dict[Path, Path]]:
    """Give a temporary path for each of `names`; at the end they take their names, all or none.

    The first is the weights, the last their account, all in one folder. A draft between them that
    was not made stands for a file that is not to be: an old one goes. Only for who holds the first
    name (`only_writer_of`). Raises UserError where they cannot be written.
    """
    drafts = {name: name.with_name(f".{name.name}.{os.getpid()}{TRASH}") for name in names}
    record = _record(names[0])
    try:
        with writing_in(names[0]):
            yield drafts
            for draft in drafts.values():
                if draft.exists():
                    sync(draft)
            moves = {n.name: d.name if d.exists() else None for n, d in drafts.items()}
            with whole_file(record) as text:
                text.write_text(json.dumps(moves) + "\n", encoding="utf-8")
            _commit(names[0], moves)
    finally:
        if not record.exists():
            for draft in drafts.values():
                draft.unlink(missing_ok=True)


def _commit(weights: Path, moves: Mapping[str, str | None]) -> None:
    """Rename; what fails before the weights changed is undone, what fails later is done again."""
    try:
        _carry_out(weights, moves)
    except BaseException as error:
        if weights.with_name(moves[weights.name] or TRASH).exists():
            _undo(weights, moves)
        elif isinstance(error, OSError):
            raise UserError(
                f"{weights}: is written, but not what belongs beside it: "
                f"{error.strerror or error}; the next conversion to it, or back from it, does that"
            ) from None
        else:  # Ctrl-C
            _carry_out(weights, moves)
        raise


def _carry_out(weights: Path, moves: Mapping[str, str | None]) -> None:
    """Make the renames that are not made yet; the record goes when all are."""
    account = weights.with_name(list(moves)[-1])
    if account.exists() and weights.with_name(moves[account.name] or TRASH).exists():
        account.replace(_aside(account))
    for name, draft in moves.items():
        if draft is None:
            weights.with_name(name).unlink(missing_ok=True)
        else:
            with suppress(FileNotFoundError):  # made before a kill
                weights.with_name(draft).replace(weights.with_name(name))
    sync(weights.parent)
    _record(weights).unlink(missing_ok=True)
    _aside(account).unlink(missing_ok=True)


def _undo(weights: Path, moves: Mapping[str, str | None]) -> None:
    account = weights.with_name(list(moves)[-1])
    if _aside(account).exists():
        _aside(account).replace(account)
    _record(weights).unlink(missing_ok=True)


def settle(names: Sequence[Path]) -> Leftovers:
    """Complete the conversion to `names` that a kill broke off, and remove drafts of killed runs.

    names: as for `whole_files`. Raises UserError where another run writes them, and
    UnreadableError where the record of the renames is none.
    """
    if not (was_held(names[0]) or _record(names[0]).exists()):
        return Leftovers()
    with only_writer_of(names[0]):
        return settle_held(names)


def require_settled(names: Sequence[Path]) -> None:
    """Complete what a kill broke off, if anything, before the first of `names` is read."""
    if _record(names[0]).exists():
        settle(names)


def settle_held(names: Sequence[Path]) -> Leftovers:
    """The same for who holds the first of `names` already."""
    completed: tuple[Path, ...] = ()
    if _record(names[0]).exists():
        moves = _read(names)
        with writing_in(names[0]):
            _carry_out(names[0], moves)
        completed = tuple(name for name in names if moves[name.name])
    swept = [draft for name in (*names, _record(names[0])) for draft in sweep_drafts(name)]
    return Leftovers(completed, tuple(swept))


def _read(names: Sequence[Path]) -> dict[str, str | None]:
    """Return the renames of a record, of these names to drafts of their own and no others."""
    record = _record(names[0])
    try:
        found = json_in(record)
    except (OSError, ValueError):
        found = None
    same = isinstance(found, dict) and list(found) == [name.name for name in names]
    ends = (names[0].name, names[-1].name)
    if same and all(_is_move(name, draft, name in ends) for name, draft in found.items()):
        moves: dict[str, str | None] = found
        return moves
    raise UnreadableError(
        f"{record}: not the record of a conversion that was broken off; remove it"
    )


def _is_move(name: str, draft: object, required: bool) -> bool:
    """Tell whether `draft` is one of the file `name`."""
    if draft is None:
        return not required
    if not isinstance(draft, str):
        return False
    number = draft.removeprefix(f".{name}.").removesuffix(TRASH)
    return number.isdecimal() and draft == f".{name}.{number}{TRASH}"


def _record(weights: Path) -> Path:
    return weights.with_name(f".{weights.name}.moves.json")


def _aside(account: Path) -> Path:
    return account.with_name(f".{account.name}.{OLD}{TRASH}")
