"""What a wrong tensor is in terms of the right one, where that can be measured.

Each relation is tried on the values and said only where it makes the difference vanish: what is
left is below `REST` of it.
"""

from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np

from align.judge.words import Cause, Words, listed

REST = 1e-3
FLOAT32 = 2.0**-23
WHOLE = 1e-9
# Larger arrays are looked at in part, evenly taken, to see whether a relation can hold at all.
GLANCE = 4096


# Masks hold the largest numbers that there are: what overflows is no relation.
_quiet = np.errstate(over="ignore", invalid="ignore")


@_quiet
def relation(reference: np.ndarray, port: np.ndarray) -> Cause | None:
    """Return what `port` is of `reference`, arrays of one shape; None where unknown."""
    if reference.shape != port.shape or not reference.size or reference.dtype.kind not in "fiubc":
        return None
    if reference.dtype.kind in "iub":
        # Differences of unsigned numbers wrap around, booleans have none.
        whole = reference.astype(np.int64), port.astype(np.int64)
        return _mapped(reference, port) or _rearranged(*whole, 0.5)
    if "c" in (reference.dtype.kind, port.dtype.kind):
        return _of_complex(reference.astype(np.complex128), port.astype(np.complex128))
    theirs, ours = reference.astype(np.float64), port.astype(np.float64)
    if not (np.isfinite(theirs).all() and np.isfinite(ours).all()):
        return None
    difference = float(np.abs(ours - theirs).max())
    if not np.isfinite(difference):
        return None
    for one in (_scaled, _moved_by_a_constant, _rearranged, _function, _channels, _border):
        cause = one(theirs, ours, REST * difference)
        if cause:
            return cause
    return None


def _of_complex(reference: np.ndarray, port: np.ndarray) -> Cause | None:
    if not (np.isfinite(reference).all() and np.isfinite(port).all()):
        return None
    rest = REST * float(np.abs(port - reference).max())
    if not np.isfinite(rest):
        return None
    if same(reference.conj(), port, rest):
        return Cause("conjugated")
    theirs, ours = (array.reshape(*array.shape, 1).view(np.float64) for array in (reference, port))
    return _scaled(theirs, ours, rest)


@_quiet
def same(one: np.ndarray, other: np.ndarray, rest: float) -> bool:
    """Tell whether two arrays of one shape are equal but for `rest`, absolute."""
    step = max(1, one.size // GLANCE)
    if one.size and np.abs(one.ravel()[::step] - other.ravel()[::step]).max() > rest:
        return False
    return bool(one.size == 0 or np.abs(one - other).max() <= rest)


@_quiet
def factor_of(values: np.ndarray, of: np.ndarray, rest: float) -> float | None:
    """Return c where `values` is c * `of` but for `rest`, None where it is not."""
    square = float((of * of).sum())
    if not square:
        return None
    factor = float((values * of).sum()) / square
    return factor if np.abs(values - factor * of).max() <= rest else None


def _scaled(reference: np.ndarray, port: np.ndarray, rest: float) -> Cause | None:
    factor = factor_of(port, reference, rest)
    if not factor or (reference.size < 2 and not (reference.ndim == 0 and _is_whole(factor))):
        return None
    return Cause("scaled", factor=times(factor))


def _is_whole(factor: float) -> bool:
    """Tell whether a factor, or one by it, is a whole number: of one number any other is some."""
    return any(abs(each - round(each)) <= WHOLE * abs(each) for each in (factor, 1 / factor))


def times(factor: float) -> Words:
    """Say a factor; one next to 1 is what a number makes that is held in float32."""
    if 0 < abs(factor - 1) < FLOAT32:
        return Words("times_nearly_one", off=factor - 1)
    return Words("times", factor=factor)


def _moved_by_a_constant(reference: np.ndarray, port: np.ndarray, rest: float) -> Cause | None:
    if reference.size < 3:
        return None
    difference = port - reference
    middle = float(np.median(difference))
    everywhere = same(difference, middle + 0 * port, rest)
    return Cause("constant_added", constant=middle) if everywhere else None


def _rearranged(reference: np.ndarray, port: np.ndarray, rest: float) -> Cause | None:
    for cause, changed in _arrangements(reference):
        if changed.shape == port.shape and same(changed, port, rest):
            return cause
    return (
        _blocks(reference, port, rest)
        or _shifted(reference, port, rest)
        or _rows(reference, port, rest)
    )


def _arrangements(array: np.ndarray) -> Iterator[tuple[Cause, np.ndarray]]:
    for axis in range(array.ndim):
        if array.shape[axis] > 1:
            channels = axis == 1 and array.shape[1] == 3
            kind = "channels_reversed" if channels else "reversed"
            yield Cause(kind, axis=axis), np.flip(array, axis)
    for one, other in combinations(range(array.ndim), 2):
        if array.shape[one] == array.shape[other] > 1:
            kind = "transposed" if (one, other) == (0, 1) else "axes_exchanged"
            yield Cause(kind, one=one, other=other), array.swapaxes(one, other)


def _blocks(reference: np.ndarray, port: np.ndarray, rest: float) -> Cause | None:
    """Tell whether the channels (axis 1, or the last) stand in another order."""
    for axis in dict.fromkeys((1, reference.ndim - 1)):
        if not 1 <= axis < reference.ndim or not 1 < reference.shape[axis] <= 4096:
            continue
        order = _order(np.moveaxis(reference, axis, 0), np.moveaxis(port, axis, 0), rest)
        if order is not None:
            return Cause("channels_reordered", axis=axis, order=_runs(order))
    return None


def _rows(reference: np.ndarray, port: np.ndarray, rest: float) -> Cause | None:
    """Tell whether the entries along axis 0 (a weight's outputs, gates) stand in another order."""
    if reference.ndim < 2 or not 1 < reference.shape[0] <= 4096:
        return None
    order = _order(reference, port, rest)
    return None if order is None else Cause("rows_reordered", order=_runs(order))


def _order(reference: np.ndarray, port: np.ndarray, rest: float) -> list[int] | None:
    """Return which entry of `reference` each entry of `port` (along axis 0) is, if all are one."""
    count = reference.shape[0]
    theirs, ours = reference.reshape(count, -1), port.reshape(count, -1)
    if theirs.shape[1] < 2:
        return None
    probe = min(64, theirs.shape[1])
    order: list[int] = []
    for row in ours:
        near = np.abs(theirs[:, :probe] - row[:probe]).max(axis=1)
        best = int(near.argmin())
        if near[best] > rest or best in order:
            return None
        order.append(best)
    if order == sorted(order) or not same(theirs[order], ours, rest):
        return None
    return order


def _runs(order: list[int]) -> str:
    """Say [2, 3, 0, 1] as "2-3, 0-1"."""
    runs: list[list[int]] = []
    for entry in order:
        if runs and entry == runs[-1][1] + 1:
            runs[-1][1] = entry
        else:
            runs.append([entry, entry])
    shown = [f"{a}-{b}" if a != b else f"{a}" for a, b in runs[:6]]
    return ", ".join(shown) + (", ..." if len(runs) > 6 else "")


def _shifted(reference: np.ndarray, port: np.ndarray, rest: float) -> Cause | None:
    for axis in range(reference.ndim):
        length = reference.shape[axis]
        for by in (1, -1):
            if length < 4:
                continue
            low, high = slice(None, -1), slice(1, None)
            theirs = _along(reference, axis, high if by == 1 else low)
            ours = _along(port, axis, low if by == 1 else high)
            if np.ptp(theirs) > 0 and same(theirs, ours, rest):
                return Cause("shifted", by=-by, axis=axis)
    return None


def _along(array: np.ndarray, axis: int, part: slice) -> np.ndarray:
    places: list[slice] = [slice(None)] * array.ndim
    places[axis] = part
    return array[tuple(places)]


def _function(reference: np.ndarray, port: np.ndarray, rest: float) -> Cause | None:
    if same(np.maximum(port, 0), reference, rest):
        return Cause("relu_missing")
    if same(np.maximum(reference, 0), port, rest):
        return Cause("relu_too_many")
    top = float(port.max())
    several = np.count_nonzero(reference > top) > 1  # one value is cut off by any smaller one
    if several and same(np.minimum(reference, top), port, rest):
        return Cause("cut_off", top=top)
    functions: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "sigmoid": _sigmoid,
        "tanh": lambda values: np.tanh(values),
    }
    for name, function in functions.items():
        if same(function(port), reference, rest):
            return Cause("function_missing", function=name)
        if same(function(reference), port, rest):
            return Cause("function_too_many", function=name)
    return None


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(values, -700, 700)))


def _channels(reference: np.ndarray, port: np.ndarray, rest: float) -> Cause | None:
    """Tell whether each channel (axis 1) is scaled and moved on its own."""
    if reference.ndim < 3 or reference[:, 0].size < 8:
        return None
    straight = _each_channel(reference, port, rest)
    if straight:
        return Cause("channels_scaled", how=straight)
    turned = reference.shape[1] == 3 and _each_channel(reference[:, ::-1], port, rest)
    if turned:
        return Cause("channels_reversed_scaled", how=turned)
    return None


def _each_channel(reference: np.ndarray, port: np.ndarray, rest: float) -> str | None:
    said = []
    for channel in range(reference.shape[1]):
        theirs, ours = reference[:, channel].ravel(), port[:, channel].ravel()
        middle = theirs - theirs.mean()
        square = float((middle * middle).sum())
        factor = float((ours * middle).sum()) / square if square else 0.0
        offset = float(ours.mean() - factor * theirs.mean())
        if np.abs(ours - factor * theirs - offset).max() > rest:
            return None
        said.append(f"{factor:.4g} x {offset:+.4g}")
    return ", ".join(said[:3])


def _border(reference: np.ndarray, port: np.ndarray, rest: float) -> Cause | None:
    if reference.ndim < 4 or min(reference.shape[2:]) < 4:
        return None
    inner = tuple([slice(None)] * 2 + [slice(1, -1)] * (reference.ndim - 2))
    if same(reference[inner], port[inner], rest):
        return Cause("padding")
    return None


def _mapped(reference: np.ndarray, port: np.ndarray) -> Cause | None:
    """Tell whether each value became another one everywhere."""
    values = np.unique(reference)
    if not 1 < values.size <= 256:
        return None
    pairs = {}
    for value in values:
        became = np.unique(port[reference == value])
        if became.size != 1:
            return None
        pairs[int(value)] = int(became[0])
    wrong = [(value, became) for value, became in pairs.items() if value != became]
    said = [Words("became", value=value, became=became) for value, became in wrong[:6]]
    return Cause("mapped", pairs=listed(said))
