"""Proves a conversion: the reference and the port, with these weights, compute the same."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import ConversionError
from convert.names.rules import Rules
from convert.nets.recognise import Recognised
from convert.verify import outputs

SEED = 0


@dataclass(frozen=True)
class Verification:
    """Largest relative difference of each output in float64, and what is allowed."""

    differences: tuple[float, ...]
    allowed: float
    input_shape: tuple[int, ...]
    seed: int = SEED

    @property
    def worst(self) -> float:
        """The largest of the differences."""
        return max(self.differences)


def verify(
    net: Recognised,
    arrays: Mapping[str, np.ndarray],
    rules: Rules,
    state: Mapping[str, np.ndarray],
) -> Verification:
    """Run both nets of the row on the same seeded input, in float64 and eval mode.

    Args:
        net: the row and its options.
        arrays: the file's tensors, under the file's names.
        rules: lead from these names to the reference's.
        state: the converted tensors, under Paddle's names.

    Raises:
        ConversionError: an output differs by more than DESIGN allows, or is not finite.
    """
    from convert.verify.run_paddle import run_port
    from convert.verify.run_torch import run_reference

    image = np.random.default_rng(SEED).standard_normal(net.pair.input_of(net.options))
    expected, inexact = run_reference(net.row, net.options, arrays, rules, image)
    got = run_port(net.row, net.options, state, image)
    allowed = outputs.INEXACT_RESIZE if inexact else outputs.NET_OUTPUTS
    return judge(net, expected, got, allowed)


def judge(
    net: Recognised, expected: Sequence[np.ndarray], got: Sequence[np.ndarray], allowed: float
) -> Verification:
    """Compare the outputs; raises ConversionError naming each that is not equal enough."""
    if len(expected) != len(got):
        raise ConversionError(
            f"{net}: the reference returns {len(expected)} outputs, Paddle's net {len(got)}"
        )
    differences = tuple(map(relative_difference, expected, got))
    # `not <=`, so that nothing passes by being NaN.
    if wrong := [i for i, value in enumerate(differences) if not value <= allowed]:
        listed = "; ".join(f"output {i} by {differences[i]:.1e}" for i in wrong)
        raise ConversionError(
            f"{net}: the converted net does not compute what the reference computes: {listed} "
            f"of its largest value, allowed {allowed:.0e}. Nothing was written"
        )
    return Verification(differences, allowed, net.pair.input_of(net.options))


def relative_difference(expected: np.ndarray, got: np.ndarray) -> float:
    """Return max|got - expected| / max|expected|; inf where shapes differ or one is not finite."""
    if expected.shape != got.shape or not (np.isfinite(expected).all() and np.isfinite(got).all()):
        return math.inf
    worst = float(np.abs(got - expected).max(initial=0.0))
    scale = float(np.abs(expected).max(initial=0.0))
    if worst == 0.0:
        return 0.0
    return worst / scale if scale else math.inf
