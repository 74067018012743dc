"""By which law first weights were drawn: each known one is held against the values themselves."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from align.judge.words import Cause, Words

CHANCE = 1e-4  # at which a law is taken for another one
ROUND = (0.001, 0.01, 0.02, 0.05, 0.1, 1.0)  # deviations that people write


@dataclass(frozen=True)
class Law:
    """A law of first weights.

    kind: its row in words.json. family: "uniform" within +-scale, "normal" of deviation scale, or
    "constant". code: the initializer of paddle.nn.initializer that draws so.
    """

    kind: str
    family: str
    scale: float
    code: str

    @property
    def words(self) -> Words:
        """Say it."""
        numbered = self.kind in ("law_normal", "law_constant")
        return Words(self.kind, **({"value": self.scale} if numbered else {}))

    def fits(self, values: np.ndarray) -> bool:
        """Tell whether `values` may have been drawn so, by the Kolmogorov-Smirnov test."""
        if self.family == "constant" or np.ptp(values) == 0.0:
            return bool(self.family == "constant" and (values == self.scale).all())
        from scipy import stats  # takes longer to import than the rest of this package

        uniform = stats.uniform(-self.scale, 2 * self.scale)
        known = uniform if self.family == "uniform" else stats.norm(0.0, self.scale)
        allowed = np.sqrt(-np.log(CHANCE / 2) / 2 / values.size)
        return bool(stats.kstest(values, known.cdf).statistic <= allowed)

    def likelihood(self, values: np.ndarray) -> float:
        """Return the logarithm of the density of `values`."""
        if self.family == "constant":
            return np.inf
        if self.family == "uniform":  # the ends are float32's
            outside = np.abs(values).max() > self.scale * (1 + 1e-6)
            return -np.inf if outside else -values.size * float(np.log(2 * self.scale))
        squares = float(np.sum((values / self.scale) ** 2))
        return -values.size * float(np.log(self.scale * np.sqrt(2 * np.pi))) - squares / 2

    @property
    def counted_as(self) -> tuple[str, float | None]:
        """Which tensors share this law: of a number that people write, those of that number."""
        return self.kind, self.scale if self.kind in ("law_normal", "law_constant") else None


@dataclass(frozen=True)
class Sizes:
    """What the laws of a layer go by: torch's fans of its weight, and its groups."""

    fan_in: int
    fan_out: int
    groups: int = 1

    @classmethod
    def of(cls, shape: Sequence[int], groups: Any) -> "Sizes | None":
        """Return those of a weight of torch's shape [out, in, ...]; None where it has none."""
        if len(shape) < 2 or 0 in shape:
            return None
        field = int(np.prod(shape[2:], dtype=np.int64))
        return cls(shape[1] * field, shape[0] * field, groups if isinstance(groups, int) else 1)


_TORCH = "KaimingUniform(negative_slope=math.sqrt(5), nonlinearity='leaky_relu')"


def _laws(name: str, sizes: Sizes | None) -> list[Law]:
    """Return the laws that a tensor called `name` may have, the likeliest of equal ones first."""
    plain = [Law("law_normal", "normal", std, f"Normal(0.0, {std:g})") for std in ROUND]
    if sizes is None:
        return plain
    inward, outward = sizes.fan_in, sizes.fan_out
    bound = float(1 / np.sqrt(inward))
    if name == "bias":
        code = "Uniform(-b, b), b = 1 / math.sqrt(fan_in)"
        return [Law("law_torch_bias", "uniform", bound, code), *plain]
    both = inward + outward
    in_all = inward * sizes.groups
    in_paddle = "KaimingNormal(fan_in=in_channels * k * k)"
    fan_out = "KaimingNormal(fan_in=out_channels * k * k)"
    return [
        Law("law_torch", "uniform", bound, _TORCH),
        Law("law_paddle", "normal", float(np.sqrt(2 / in_all)), in_paddle),
        Law("law_kaiming_normal", "normal", float(np.sqrt(2 / inward)), "KaimingNormal()"),
        Law("law_kaiming_normal_out", "normal", float(np.sqrt(2 / outward)), fan_out),
        Law("law_kaiming_uniform", "uniform", float(np.sqrt(6 / inward)), "KaimingUniform()"),
        Law("law_xavier_uniform", "uniform", float(np.sqrt(6 / both)), "XavierUniform()"),
        Law("law_xavier_normal", "normal", float(np.sqrt(2 / both)), "XavierNormal()"),
        *plain,
    ]


@dataclass
class Drawn:
    """First values of one tensor that are drawn otherwise on the two sides."""

    name: str
    sizes: Sizes | None
    port: np.ndarray
    reference: np.ndarray

    def fitting(self, values: np.ndarray) -> list[Law]:
        """Return the laws that `values` of this tensor may have."""
        if np.ptp(values) == 0.0:
            value = float(values.flat[0])
            return [Law("law_constant", "constant", value, f"Constant({value:g})")]
        laws = [law for law in _laws(self.name, self.sizes) if law.fits(values)]
        # Of few values almost every law may be one: those far less likely than another are not.
        likely = [law.likelihood(values) for law in laws]
        least = max(likely, default=0.0) + np.log(CHANCE)
        return [law for law, one in zip(laws, likely, strict=True) if one >= least]


def causes(found: Sequence[Drawn]) -> list[Cause]:
    """Return the cause of each: of several laws that fit, the one that fits most tensors."""
    ours = _commonest([one.fitting(one.port) for one in found])
    theirs = _commonest(
        # A torch net is no one's whose default is Paddle's, where both laws are one.
        [sorted(one.fitting(one.reference), key=_of_paddle) for one in found]
    )
    return [_cause(*row) for row in zip(found, ours, theirs, strict=True)]


def _of_paddle(law: Law) -> bool:
    return law.kind == "law_paddle"


def _commonest(choices: Sequence[Sequence[Law]]) -> list[Law | None]:
    counts = Counter(shared for laws in choices for shared in {law.counted_as for law in laws})
    return [max(laws, key=lambda law: counts[law.counted_as], default=None) for laws in choices]


def _cause(one: Drawn, ours: Law | None, theirs: Law | None) -> Cause:
    numbers = {"mean": one.port.mean(), "deviation": one.port.std()}
    if theirs is None or (ours is not None and ours.kind == theirs.kind):
        known = {"reference_mean": one.reference.mean()}
        known["reference_deviation"] = one.reference.std()
        return Cause("distribution", **numbers, **known)
    port = Words("law_other", **numbers) if ours is None else ours.words
    said = {"port": port, "reference": theirs.words, "code": theirs.code}
    if one.name in ("weight", "bias"):
        return Cause("drawn_otherwise", **said, attribute=f"{one.name}_attr")
    return Cause("drawn_otherwise_alone", **said)
