"""The account of a conversion: what became of every tensor, on both sides, and why.

It is written as JSON beside the output, and holds what the way back needs: second names, and the
values of dropped tensors.
"""

import base64
import importlib.metadata
import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from convert.plan import Plan
from convert.spec import TensorSpec

SCHEMA = 1
COPIED, RENAMED, TRANSPOSED = "copied", "renamed", "transposed"
ALIAS, DROPPED, LEFT = "alias", "dropped", "left at initialisation"
# Larger dropped tensors are accounted for by name and reason alone.
KEPT_BYTES = 1 << 20


@dataclass(frozen=True)
class SourceRow:
    """One tensor of the file. `to` is the Paddle tensor it fills, or the first name of an alias.

    `value` holds the little-endian bytes of a dropped tensor in base64, None above `KEPT_BYTES`.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    became: str
    to: str | None = None
    reason: str | None = None
    value: str | None = None


@dataclass(frozen=True)
class TargetRow:
    """One tensor of the Paddle net, and the file's tensor that fills it."""

    key: str
    shape: tuple[int, ...]
    dtype: str
    source: str | None
    change: str


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
    """

    source_tensors: tuple[SourceRow, ...]
    target_tensors: tuple[TargetRow, ...]
    ties: Mapping[str, str] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    net: Mapping[str, Any] = field(default_factory=dict)
    output: Mapping[str, Any] = field(default_factory=dict)
    verification: Mapping[str, Any] = field(default_factory=dict)

    @property
    def totals(self) -> dict[str, int]:
        """Number of tensors by what became of them; "left at initialisation" counts Paddle's."""
        counts = Counter(row.became for row in self.source_tensors)
        counts[LEFT] = sum(row.change == LEFT for row in self.target_tensors)
        return {name: counts[name] for name in (COPIED, RENAMED, TRANSPOSED, ALIAS, DROPPED, LEFT)}

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
        rows = asdict(self)
        tables = {name: rows.pop(name) for name in ("source_tensors", "target_tensors", "ties")}
        head = {"schema": SCHEMA, "totals": self.totals}
        return {**head, **rows, "versions": _versions(), **tables}

    def summary(self) -> dict[str, Any]:
        """Return all but the rows of the tensors that were moved, JSON-ready."""
        rows = self.to_dict()
        for table in ("source_tensors", "target_tensors", "ties"):
            del rows[table]
        dropped = self.dropped_by_reason
        return {**rows, "dropped": dropped, "left_at_initialisation": self.left_at_initialisation}

    def to_json(self) -> str:
        """Return the JSON document that is written beside the output."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def draw_up(
    plan: Plan, arrays: Mapping[str, np.ndarray], untouched: Sequence[TensorSpec] = ()
) -> Account:
    """Draw up the account of `plan` on the file's `arrays`.

    `untouched` are tensors of the net that the plan is not about.
    """
    moved = {move.source: move for move in plan.moves}
    rows = []
    for key, array in arrays.items():
        head = (key, tuple(array.shape), array.dtype.name)
        if key in moved:
            rows.append(SourceRow(*head, moved[key].change, to=moved[key].target.key))
        elif key in plan.aliases:
            first = plan.aliases[key]
            rows.append(SourceRow(*head, ALIAS, to=first, reason=f"second name of {first}"))
        else:
            rows.append(SourceRow(*head, DROPPED, reason=plan.dropped[key], value=_value(array)))
    filled = {
        m.target.key: TargetRow(
            m.target.key, m.target.shape, arrays[m.source].dtype.name, m.source, m.change
        )
        for m in plan.moves
    }
    left = [TargetRow(spec.key, spec.shape, spec.dtype, None, LEFT) for spec in untouched]
    return Account(tuple(rows), (*filled.values(), *left))


def value_of(row: SourceRow) -> np.ndarray | None:
    """Return the dropped tensor of `row`, None where its value was not kept."""
    if row.value is None:
        return None
    import ml_dtypes

    dtype = np.dtype(getattr(ml_dtypes, row.dtype, None) or row.dtype)
    return np.frombuffer(base64.b64decode(row.value), dtype).reshape(row.shape)


def _value(array: np.ndarray) -> str | None:
    if array.nbytes > KEPT_BYTES:
        return None
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("torch2paddle-seg", "numpy", "torch", "paddlepaddle", "paddlepaddle-gpu"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
