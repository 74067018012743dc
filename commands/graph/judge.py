"""Are the runs of source and written net equal? Distances, allowances and one row for each."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from commands.entry import CHECKED_BAD, CHECKED_GOOD, COULD_NOT_CHECK
from commands.graph.ran import GraphRun
from port.graph.account import TRANSPOSED, GraphAccount
from port.graph.mend import Norm

# Relative, in float64: what healthy pairs of nets show (docs: the floor of rounding).
OUTPUTS, GRADIENTS, STATISTICS = 1e-9, 1e-7, 1e-7
RESIZED = 5e-6  # Paddle's resize kernels hold their ratio in float32
_SAFE = 8.0  # times the measured noise of float32
_FLOAT32, _FLOAT64_SHARE = 1e-7, 1e-6
_MOST_NOISE = 1e-3  # behind which nothing can be told
_SMALL = 1e-6  # of the largest gradient: below it a gradient is rounding


@dataclass(frozen=True)
class Judged:
    """One comparison: its exit code, the largest relative difference, what was allowed."""

    name: str
    code: int
    error: float | None = None
    allowed: float | None = None
    where: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON, where no number is infinite."""
        row = asdict(self)
        if self.error is not None and not np.isfinite(self.error):
            row["error"] = None
        return row


def distance(one: np.ndarray, other: np.ndarray, scale: float = 0.0) -> float:
    """Return max |one - other| / max |one| (at least `scale`) of the values that are finite.

    Infinite where one has others that are not, or at other places.
    """
    exact = np.complex128 if "c" in (one.dtype.kind, other.dtype.kind) else np.float64
    a, b = one.astype(exact), other.astype(exact)
    finite = np.isfinite(a)
    if not (np.array_equal(finite, np.isfinite(b)) and _same(a[~finite], b[~finite])):
        return float("inf")
    a, b = a[finite], b[finite]
    far = float(np.abs(a - b).max(initial=0))
    return far / max(float(np.abs(a).max()), scale, 1e-300) if far else 0.0


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.array_equal(one, other, equal_nan=True))


def judged_outputs(
    name: str, reference: GraphRun, written: GraphRun, allowed: float, noise: float = 0.0
) -> Judged:
    """Return the row of all outputs; `noise` is what rounding alone moves them by."""
    one, other = reference.outputs, written.outputs
    if len(one) != len(other):
        where = f"the source returns {len(one)} tensors, the written net {len(other)}"
        return Judged(name, CHECKED_BAD, where=where)
    worst = Judged(name, CHECKED_GOOD, 0.0, allowed)
    for number, (a, b) in enumerate(zip(one, other, strict=True)):
        if a.shape != b.shape:
            where = f"output {number}: shape {list(a.shape)} there, {list(b.shape)} here"
            return Judged(name, CHECKED_BAD, where=where)
        row = _whole(name, number, a, b) if a.dtype.kind in "iub" else None
        if row is None:
            error = distance(a, b)
            row = Judged(name, _code(error, allowed), error, allowed, f"output {number}")
        if row.code == CHECKED_GOOD and (empty := _says_nothing(a)):
            where = f"output {number}: {empty}"
            row = Judged(name, COULD_NOT_CHECK, row.error, row.allowed, where)
        worst = max(worst, row, key=_rank)
    if noise > _MOST_NOISE and worst.code == CHECKED_GOOD:
        where = f"rounding alone moves its outputs by {noise:.0e}: nothing can be told from them"
        return Judged(name, COULD_NOT_CHECK, worst.error, allowed, where)
    return worst


def _says_nothing(output: np.ndarray) -> str:
    """Say why an output that is the same on both sides shows nothing, "" where it does."""
    if not output.size:
        return "is empty on both sides"
    if output.dtype.kind not in "fc":
        return ""
    if np.isnan(output).any() or not np.isfinite(output).any():
        return "is not finite on both sides"
    return "" if output.any() else "is all zeros on both sides"


def _whole(name: str, number: int, a: np.ndarray, b: np.ndarray) -> Judged:
    """Judge whole numbers: some that differ may be ties that rounding decides."""
    share = float((a != b).mean()) if a.size else 0.0
    code = CHECKED_GOOD if not share else COULD_NOT_CHECK if share < 1e-3 else CHECKED_BAD
    return Judged(name, code, share, 0.0, f"output {number}: share of whole numbers that differ")


def _code(error: float, allowed: float) -> int:
    return CHECKED_GOOD if error <= allowed else CHECKED_BAD


def _rank(row: Judged) -> tuple[int, float]:
    severity = (CHECKED_GOOD, COULD_NOT_CHECK, CHECKED_BAD).index(row.code)
    return severity, -1.0 if row.error is None else row.error


def judged_gradients(
    name: str, reference: GraphRun, written: GraphRun, account: GraphAccount, allowed: float
) -> Judged:
    """Return the row of the gradients of all inputs and parameters, each under its name."""
    turned = {way.name for way in account.ways if way.became == TRANSPOSED}
    pairs = [
        (f"input {n}", a, b)
        for n, (a, b) in enumerate(zip(reference.inputs, written.inputs, strict=True))
    ]
    targets = account.target_of
    for source, gradient in reference.gradients.items():
        found = written.gradients.get(targets.get(source, ""))
        if source in turned and found is not None:
            found = found.T
        pairs.append((source, gradient, found))
    known = {targets.get(source) for source in reference.gradients}
    pairs += [(n, None, g) for n, g in written.gradients.items() if n not in known]
    largest = max(
        (float(np.abs(a).max(initial=0)) for _, a, _ in pairs if a is not None), default=0.0
    )
    rows = [_gradient(name, *pair, largest, allowed) for pair in pairs]
    worst = max(rows, key=_rank, default=Judged(name, CHECKED_GOOD))
    if worst.code == CHECKED_GOOD and not 0 < largest < np.inf:
        where = "there is no gradient to compare, or it is zero or not finite"
        return Judged(name, COULD_NOT_CHECK, where=where)
    return worst


def _gradient(
    name: str,
    what: str,
    one: np.ndarray | None,
    other: np.ndarray | None,
    largest: float,
    allowed: float,
) -> Judged:
    if one is None or other is None:
        found = one if one is not None else other
        if found is None or not np.abs(found).max(initial=0) > _SMALL * allowed * largest:
            return Judged(name, CHECKED_GOOD, 0.0, allowed, what)
        side = "the written net" if other is None else "the source"
        return Judged(name, CHECKED_BAD, None, allowed, f"{what}: {side} has no gradient of it")
    if one.size != other.size:
        return Judged(name, CHECKED_BAD, None, allowed, f"{what}: of another shape")
    error = distance(one, other.reshape(one.shape), _SMALL * largest)
    return Judged(name, _code(error, allowed), error, allowed, what)


def judged_statistics(
    name: str,
    before: Mapping[str, np.ndarray],
    reference: GraphRun,
    written: GraphRun,
    account: GraphAccount,
    norms: Mapping[str, Norm],
    allowed: float,
    unread: Set[str] = frozenset(),
) -> Judged:
    """Return the row of running means and variances after a pass in train mode.

    Paddle averages the biased variance of a batch, torch the unbiased: that factor, (n - 1) / n,
    is taken out. unread: those that the written net lacks and that reach no output of eval mode.
    """
    rows = []
    missing = set(lacking(before, reference, account, norms))
    for mean, norm in norms.items():
        for source in (mean, variance_of(mean)):
            moved = source in account.target_of or source in missing
            if source in unread or not moved:
                continue  # of a layer that did not run, or that nothing is made of
            found = written.buffers.get(account.target_of.get(source, ""))
            if found is None or norm.momentum is None:
                where = f"{source}: has no running statistics that are known in the written net"
                rows.append(Judged(name, COULD_NOT_CHECK, where=where))
                continue
            expected = reference.buffers[source]
            if source != mean:
                n, old = reference.counts.get(source, 0), norm.momentum * before[source]
                expected = old + (expected - old) * (n - 1) / n if n else expected
            error = distance(expected, found)
            rows.append(Judged(name, _code(error, allowed), error, allowed, source))
    return max(rows, key=_rank, default=Judged(name, CHECKED_GOOD, 0.0, allowed))


def lacking(
    before: Mapping[str, np.ndarray],
    reference: GraphRun,
    account: GraphAccount,
    norms: Mapping[str, Norm],
) -> list[str]:
    """Return the running statistics that train mode moved and that the written net lacks."""
    names = [name for mean in norms for name in (mean, variance_of(mean))]
    return [
        name
        for name in names
        if name not in account.target_of
        and not np.array_equal(before[name], reference.buffers[name])
    ]


def variance_of(mean: str) -> str:
    """Return the name of the running variance beside a running mean."""
    return f"{mean.removesuffix('running_mean')}running_var"


def noise_between(one: GraphRun, other: GraphRun) -> float:
    """Return how far apart two runs of one net are that differ in rounding alone."""
    pairs = [
        (a, b)
        for a, b in zip(one.outputs, other.outputs, strict=True)
        if a.dtype.kind == "f" and a.shape == b.shape
    ]
    return max((distance(a, b) for a, b in pairs), default=0.0)


def float32_allowance(noise: float) -> float:
    """Return what is allowed in float32 where rounding alone moves the outputs by `noise`."""
    return _SAFE * max(noise, _FLOAT32)


def float64_allowance(least: float, noise32: float, resized: bool) -> float:
    """Return what is allowed in float64; `noise32` is what rounding to float32 moves."""
    return max(least, _FLOAT64_SHARE * noise32, RESIZED if resized else 0.0)


def exit_code(rows: Sequence[Judged]) -> int:
    """Return the code of all rows: one that differs decides, then one that was not checked."""
    codes = {row.code for row in rows}
    if CHECKED_BAD in codes:
        return CHECKED_BAD
    return COULD_NOT_CHECK if COULD_NOT_CHECK in codes or not rows else CHECKED_GOOD
