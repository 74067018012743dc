"""Compares what a run leaves in the buffers of both nets."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from align.arrays.distances import magnitude
from align.judge.compare import compare
from align.judge.comparison import DIFFERS, EQUAL, NOISE, UNCHECKED, Comparison
from align.judge.words import Cause
from align.pairing.reference import Reference
from align.pairing.tensors import join
from align.trial.biased_variance import biased, in_words
from align.trial.findings import Findings

ZERO = 1e-9  # of the standard deviation: a running mean below it holds nothing else


def compare_buffers(
    net: Reference, found: Findings, after: Mapping[str, np.ndarray]
) -> list[Comparison]:
    """Compare what a train-mode pass left in the buffers of matched layers."""
    names = names_by_layer(found.trace.buffers)
    comparisons = []
    factors: dict[str, float] = {}
    for pair in found.judged.partners.items():
        for into, factor in buffers_of(net, found, pair, names.get(pair[1], ()), after):
            comparisons.append(into)
            if factor is not None:
                factors[pair[0].removeprefix("net.")] = factor
    found.notes += in_words(factors)
    return comparisons + list(_moved(found, after))


def _moved(found: Findings, after: Mapping[str, np.ndarray]) -> Iterator[Comparison]:
    """Compare the buffers that stand elsewhere in the reference, or in another shape."""
    judged = found.judged.port_group
    for key, move in found.pairing.moves.items():
        path, _, name = key.rpartition(".")
        if move.source in found.trace.buffers and key in after and path in judged:
            into = Comparison(
                path, f"{move.source.rpartition('.')[0]}#last", f"buffer:{name}", "layer"
            )
            expected = move.of(found.trace.buffers[move.source])
            allowance = found.moves.allow(("", 0, f"buffer:{move.source}"))
            yield compare(expected, _of_kind(after[key], expected), allowance, into)


def buffers_of(
    net: Reference,
    found: Findings,
    pair: tuple[str, str],
    names: Iterable[str],
    after: Mapping[str, np.ndarray],
) -> Iterator[tuple[Comparison, float | None]]:
    """Compare the buffers `names` of one layer, whose paths are `pair`: (port, reference).

    Yields with each the factor by which the port's variance is a biased one, if it is.
    """
    from convert.names.spec import COUNTER

    port, reference = pair
    for name in names:
        full = join(reference, name)
        if name == COUNTER or full in found.pairing.dropped:
            continue  # Paddle counts no batches
        own = join(port, name) in after
        local = name if own else BUFFER_NAMES.get(name, name)
        if join(port, local) in found.pairing.moves:
            continue  # see `_moved`
        before = found.trace.buffers_before[full]
        if join(port, local) not in after and np.array_equal(before, found.trace.buffers[full]):
            continue  # a constant, which the port may hold as a number
        into = Comparison(port, f"{reference}#last", f"buffer:{local}", "layer")
        ours = after.get(join(port, local))
        factor = None
        if ours is None:
            into.verdict, into.relative_error = DIFFERS, float("inf")
            into.cause = Cause("no_such_buffer", name=full)
        else:
            allowance = found.moves.allow(("", 0, f"buffer:{full}"))
            expected = found.trace.buffers[full]
            compare(expected, _of_kind(ours, expected), allowance, into)
            if into.verdict == DIFFERS and name == "running_var":
                calls = [call for call in found.trace.calls if call.path == reference]
                factor = biased(net.momentum(reference), calls, before, ours)
                if factor is not None:
                    into.verdict, into.floor = EQUAL, into.relative_error
                    into.cause = Cause("biased_variance")
            if into.verdict == UNCHECKED and name == "running_mean" and _is_zero(found, reference):
                into.verdict, into.cause = NOISE, None
        yield into, factor


def _of_kind(ours: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return a mask or an index that the port holds in numbers of another kind, by its values."""
    if ours.dtype.kind == expected.dtype.kind or "c" in (ours.dtype.kind, expected.dtype.kind):
        return ours
    cast = ours.astype(expected.dtype)
    return cast if np.array_equal(cast, ours) else ours


def _is_zero(found: Findings, path: str) -> bool:
    """Tell whether a running mean is 0 but for rounding, beside the running variance.

    That of what a convolution makes of normalised values, as in an inverted residual.
    """
    mean, variance = (
        found.trace.buffers.get(join(path, name)) for name in ("running_mean", "running_var")
    )
    if mean is None or variance is None or not variance.size:
        return False
    return magnitude(mean) <= ZERO * magnitude(variance) ** 0.5


# A layer's buffers by their name in torch; what is not listed has the same name on both sides.
BUFFER_NAMES = {"running_mean": "_mean", "running_var": "_variance"}


def names_by_layer(names: Iterable[str]) -> dict[str, list[str]]:
    """Return {path: names of what it holds} of "path.name"."""
    found: dict[str, list[str]] = {}
    for full in names:
        path, _, name = full.rpartition(".")
        found.setdefault(path, []).append(name)
    return found
