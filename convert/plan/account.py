"""The account of a conversion: what became of every tensor, on both sides, and why.

It is written as JSON beside the output, and holds what the way back needs: second names, and the
values of dropped tensors.
"""

import base64
import importlib.metadata
import math
import platform
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from common.documents import json_text, with_whole_letters
from convert.formats.stored import dtype_named
from convert.names.spec import TensorSpec
from convert.plan.cast import CastFrom
from convert.plan.move import Move
from convert.plan.plan import Plan, describe_arrays

SCHEMA = 1
COPIED, RENAMED, TRANSPOSED = "copied", "renamed", "transposed"
SPLIT, RESHAPED = "split", "reshaped"
ALIAS, DROPPED, LEFT = "alias", "dropped", "left at initialisation"
# Larger dropped tensors are kept in a file of their own beside the account.
KEPT_BYTES = 1 << 20
TABLES = ("source_tensors", "target_tensors", "ties")


@dataclass(frozen=True)
class SourceRow:
    """One tensor of the file. `to` is the Paddle tensor it fills, or the first name of an alias.

    `also` are further Paddle tensors that it fills: pieces of it, second names. `value` holds the
    little-endian bytes of a dropped tensor in base64, None above `KEPT_BYTES`.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    became: str
    to: str | None = None
    reason: str | None = None
    value: str | None = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetRow:
    """One tensor of the Paddle net, and the file's tensor that fills it.

    `transposed` tells the layout of a split one too; `piece` is (index, number, axis, sizes) of
    what it is filled with. `reason` tells why nothing fills it. `cast_from` is the file's dtype
    where it is another than the net's, `rounded` whether values changed by that.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    source: str | None
    change: str
    transposed: bool = False
    piece: Mapping[str, Any] | None = None
    reason: str | None = None
    cast_from: str | None = None
    rounded: bool = False


@dataclass(frozen=True)
class Account:
    """Everything about one conversion.

    Attributes:
        source_tensors, target_tensors: a row for each tensor of either side.
        ties: second name -> first name of tensors that share storage in the file; Paddle's files
            cannot tie, so such tensors are written under every name.
        source: path, SHA-256, what was found inside.
        net: row of the table, its options, the place in it.
        output: path, size and SHA-256; empty while nothing is written.
        verification: differences per output and what was allowed; empty where not asked for.
        notes: what the rules of the file's source want said aloud.
        not_finite: name in the file -> how many values are NaN or infinite.
    """

    source_tensors: tuple[SourceRow, ...]
    target_tensors: tuple[TargetRow, ...]
    ties: Mapping[str, str] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    net: Mapping[str, Any] = field(default_factory=dict)
    output: Mapping[str, Any] = field(default_factory=dict)
    verification: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    not_finite: Mapping[str, int] = field(default_factory=dict)

    @property
    def totals(self) -> dict[str, int]:
        """Number of tensors by what became of them; "left at initialisation" counts Paddle's."""
        counts = Counter(row.became for row in self.source_tensors)
        counts[LEFT] = sum(row.change == LEFT for row in self.target_tensors)
        moved = (COPIED, RENAMED, TRANSPOSED, SPLIT, RESHAPED)
        return {name: counts[name] for name in (*moved, ALIAS, DROPPED, LEFT)}

    @property
    def dropped_by_reason(self) -> dict[str, list[str]]:
        """Keys of the dropped tensors, grouped by reason."""
        groups: dict[str, list[str]] = {}
        for row in self.source_tensors:
            if row.became == DROPPED:
                groups.setdefault(row.reason or "", []).append(row.key)
        return groups

    @property
    def left_at_initialisation(self) -> list[str]:
        """Keys of the net that this conversion does not fill (with --into)."""
        return [row.key for row in self.target_tensors if row.change == LEFT]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values, totals on top."""
        head = {"schema": SCHEMA, "totals": self.totals}
        rows = {name: value for name, value in vars(self).items() if name not in TABLES}
        # Not `asdict`, which copies every value of every row: a third of a conversion's time.
        tables = {name: [dict(vars(row)) for row in getattr(self, name)] for name in TABLES[:2]}
        return {**head, **rows, "versions": _versions(), **tables, "ties": self.ties}

    def summary(self) -> dict[str, Any]:
        """Return all but the rows of the tensors that were moved, JSON-ready."""
        rows = self.to_dict()
        for table in TABLES:
            del rows[table]
        dropped = self.dropped_by_reason
        return {**rows, "dropped": dropped, "left_at_initialisation": self.left_at_initialisation}

    def to_json(self) -> str:
        """Return the JSON document that is written beside the output."""
        return with_whole_letters(json_text(self.to_dict()))


def draw_up(
    plan: Plan,
    arrays: Mapping[str, np.ndarray],
    untouched: Sequence[TensorSpec] = (),
    casts: Mapping[str, CastFrom] = MappingProxyType({}),
) -> Account:
    """Draw up the account of `plan` on the file's `arrays`.

    `untouched` are tensors of the net that the plan is not about; `casts` says what tensors of the
    net were before they were cast.
    """
    moved: dict[str, list[Move]] = {}
    for move in plan.moves:
        moved.setdefault(move.source, []).append(move)
    dtypes = {spec.key: spec.dtype for spec in describe_arrays(arrays)}
    rows = []
    for spec in describe_arrays(arrays):
        head = (spec.key, spec.shape, spec.dtype)
        if spec.key in moved:
            rows.append(_moved_row(head, moved[spec.key]))
        elif spec.key in plan.aliases:
            first = plan.aliases[spec.key]
            rows.append(SourceRow(*head, ALIAS, to=first, reason=f"second name of {first}"))
        else:
            value = _value(spec, arrays)
            rows.append(SourceRow(*head, DROPPED, reason=plan.dropped[spec.key], value=value))
    filled = [
        _target_row(move, dtypes[move.source], casts.get(move.target.key)) for move in plan.moves
    ]
    absent = [
        TargetRow(s.key, s.shape, s.dtype, None, LEFT, reason=plan.absent.get(s.key))
        for s in untouched
    ]
    return Account(tuple(rows), (*filled, *absent))


def left_anew(account: Account, tensors: Collection[str], reason: str) -> Account:
    """Return `account` where `tensors` of the net are not filled: the file's are dropped.

    reason: of both.
    """
    source = [
        replace(row, became=DROPPED, to=None, also=(), reason=reason) if row.to in tensors else row
        for row in account.source_tensors
    ]
    target = [
        TargetRow(row.key, row.shape, row.dtype, None, LEFT, reason=reason)
        if row.key in tensors
        else row
        for row in account.target_tensors
    ]
    return replace(account, source_tensors=tuple(source), target_tensors=tuple(target))


def _moved_row(head: tuple[str, tuple[int, ...], str], moves: list[Move]) -> SourceRow:
    also = tuple(move.target.key for move in moves[1:])
    return SourceRow(*head, moves[0].change, to=moves[0].target.key, also=also)


def _target_row(move: Move, dtype: str, before: CastFrom | None) -> TargetRow:
    target = move.target
    dtype = dtype if move.piece is None else move.piece.dtype_of(dtype) or dtype
    return TargetRow(
        target.key,
        target.shape,
        target.dtype if before else dtype,
        move.source,
        move.change,
        move.transposed,
        piece=asdict(move.piece) if move.piece else None,
        cast_from=before.dtype if before else None,
        rounded=bool(before and before.rounded),
    )


def value_of(row: SourceRow) -> np.ndarray | None:
    """Return the dropped tensor of `row`, None where its value was not kept."""
    if row.value is None:
        return None
    data = base64.b64decode(row.value)
    return np.frombuffer(data, dtype_named(row.dtype)).reshape(row.shape)


def nbytes_of(shape: Sequence[int], dtype: str) -> int:
    """Return the bytes of a tensor."""
    return math.prod(shape) * dtype_named(dtype).itemsize


def _value(spec: TensorSpec, arrays: Mapping[str, np.ndarray]) -> str | None:
    if nbytes_of(spec.shape, spec.dtype) > KEPT_BYTES:
        return None
    return base64.b64encode(np.ascontiguousarray(arrays[spec.key]).tobytes()).decode()


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("torch2paddle-seg", "numpy", "torch", "paddlepaddle", "paddlepaddle-gpu"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
