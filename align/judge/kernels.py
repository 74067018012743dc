"""Kernels of Paddle that compute partly in float32 whatever the input: THE TABLE.

What Paddle holds in float32 stands in five tables. Look at all of them when a version of Paddle
changes, and put a new row where it is asked for:

- `align.judge.kernels.KERNELS`, here: numbers inside the kernels of functions, and how far off
  their results may be. They cannot be mended, only allowed for.
- `align.judge.operators.OPERATORS`: the same operators of Paddle, for code of the port that calls
  one where the reference's calls no function of this table, but writes it out.
- `align.nets.layers_paddle.ROUNDING`: epsilon and momentum of normalisation layers (GroupNorm's by
  version: `group_norm_rounds`). They are rounded on the reference too; nothing is allowed.
- `align.rungs.training.optimizers_paddle.FLOAT32_SETTINGS`: settings of optimizers. Rounded on the
  reference too.
- `common.resizes.SMOOTH`: the modes of a resize whose coordinates are held; `is_exact` says for
  which sizes that makes no difference.

Each row names the torch function whose counterpart it is, when it applies, and how far the kernel
may be off, as a fraction of the largest magnitude of its result. Which row applies to a layer or
a stretch of glue follows from the torch functions that were called in it, never from a name. Each
row has a test that shows the kernel's error below the row and above a tenth of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from align.judge.kernel_names import ADDITIONS, EXACT_ORDERS
from common import environment, resizes

EPS32 = 2.0**-23

Sizes = Sequence[int]
KernelSettings = dict[str, object]


@dataclass(frozen=True)
class Kernel:
    """One row: how far values (`forward`) and gradients (`backward`) may be off.

    Both are functions of (input size, output size, settings of the call), as a fraction of the
    largest magnitude of the result; 0 where the kernel is exact. Sizes are without batch and
    channels; settings hold the plain numbers of the call as "numbers", and of
    `ADDITIONS` the largest magnitude of the result as "largest".
    """

    function: str
    why: str
    forward: Callable[[Sizes, Sizes, KernelSettings], float]
    backward: Callable[[Sizes, Sizes, KernelSettings], float]
    before: tuple[int, ...] | None = None  # the Paddle in which the kernel became exact

    def errors(self, size: Sizes, out: Sizes, settings: KernelSettings) -> tuple[float, float]:
        """Return (forward, backward) for one call."""
        if self.before is not None and paddle_version() >= self.before:
            return 0.0, 0.0
        return self.forward(size, out, settings), self.backward(size, out, settings)


def paddle_version() -> tuple[int, ...]:
    """Return the Paddle that is installed as (3, 3, 1); (0,) without one: the most is allowed."""
    return environment.paddle_version() or (0,)


def _resize_error(size: Sizes, out: Sizes, settings: KernelSettings) -> float:
    """Paddle holds the coordinates of a resize in float32: they are off by eps32 * size."""
    return 0.0 if resizes.is_exact(size, out, settings) else EPS32 * (2.0 + 1.5 * max(size))


def _holds(number: float) -> bool:
    """Tell whether float32 holds `number` exactly."""
    return float(np.float32(number)) == number


def _resize_gradient_error(size: Sizes, out: Sizes, settings: KernelSettings) -> float:
    """The same coordinates, and for the area mode the average's 1 / k."""
    if settings.get("mode") == "area":
        return POOL_ERROR
    return _resize_error(size, out, settings)


def _epsilon_error(size: Sizes, out: Sizes, settings: KernelSettings) -> float:
    """A rounded epsilon moves 1 / sqrt(variance + epsilon) by half as much at most.

    Modules' epsilons are rounded on the reference too, and then there is nothing to allow.
    """
    epsilon: Any = settings.get("eps", 1e-5)
    return 0.0 if not epsilon else 0.5 * abs(float(np.float32(epsilon)) / epsilon - 1.0)


def _number_error(error: float) -> Callable[[Sizes, Sizes, KernelSettings], float]:
    """Return `error` where a plain number of the call is none that float32 holds."""

    def errors(size: Sizes, out: Sizes, settings: KernelSettings) -> float:
        numbers: Any = settings.get("numbers", ())
        return 0.0 if all(_holds(float(number)) for number in numbers) else error

    return errors


def _added_error(size: Sizes, out: Sizes, settings: KernelSettings) -> float:
    """A number that is added is off by its own rounding, whatever it is added to."""
    numbers: Any = settings.get("numbers", ())
    largest: Any = settings.get("largest", 0.0)
    off = max((abs(float(np.float32(number)) - number) for number in numbers), default=0.0)
    return min(EPS32, off / largest) if largest else _number_error(EPS32)(size, out, settings)


def _norm_error(size: Sizes, out: Sizes, settings: KernelSettings) -> float:
    """Any norm but these goes through powers in float32."""
    order: Any = settings.get("p", settings.get("ord", 2))
    return 0.0 if order in EXACT_ORDERS else NORM_ERROR


def _setting_error(name: str, default: float) -> Callable[[Sizes, Sizes, KernelSettings], float]:
    """Return `EPS32` where the setting `name` is a number that float32 does not hold."""

    def errors(size: Sizes, out: Sizes, settings: KernelSettings) -> float:
        number: Any = settings.get(name, default)
        return 0.0 if not isinstance(number, float) or _holds(number) else EPS32

    return errors


def _complex_error(size: Sizes, out: Sizes, settings: KernelSettings) -> float:
    return COMPLEX_ERROR if settings.get("complex") else 0.0


def _always(error: float) -> Callable[[Sizes, Sizes, KernelSettings], float]:
    return lambda size, out, settings: error


POWER_ERROR = 2e-7  # the exponent's rounding, times the logarithm of the input
NORM_ERROR = 4e-7
COMPLEX_ERROR = 3e-7
SERIES_ERROR = 1e-9  # of a series that is cut off, or of terms that cancel
NORM_GRADIENT = 1e-8  # 1e-12 is added to the norm: so much at norms of 1e-4
LAST_PLACE = 2.0**-52  # of float64; where times follow as angles, hundreds of it arrive
LP_ERROR = 4e-7  # the same for a power and the root, and a number of values held in float32
POOL_ERROR = EPS32  # one rounding to float32, twice over

KERNELS: tuple[Kernel, ...] = (
    Kernel(
        "interpolate", "holds its coordinates in float32", _resize_error, _resize_gradient_error
    ),
    *(
        Kernel(name, "holds epsilon in float32", _epsilon_error, _epsilon_error)
        for name in ("layer_norm", "instance_norm")
    ),
    Kernel(
        "pow",
        "holds the exponent in float32",
        _number_error(POWER_ERROR),
        _number_error(POWER_ERROR),
    ),
    *(
        Kernel(
            name,
            "backward adds 1e-12 to the norm, other norms than p=2 are computed in float32",
            _norm_error,
            lambda size, out, settings: max(NORM_GRADIENT, _norm_error(size, out, settings)),
        )
        for name in (
            *("normalize", "norm", "weight_norm", "dist", "cdist", "pdist", "pairwise_distance"),
            "triplet_margin_loss",
        )
    ),
    *(
        Kernel(
            name,
            f"holds {setting} in float32",
            _setting_error(setting, default),
            _setting_error(setting, default),
        )
        for name, setting, default in (
            ("cross_entropy", "label_smoothing", 0.0),
            ("smooth_l1_loss", "beta", 1.0),
            ("huber_loss", "delta", 1.0),
            ("multi_margin_loss", "margin", 1.0),
        )
    ),
    Kernel(
        "renorm", "holds the largest norm in float32", _number_error(EPS32), _number_error(EPS32)
    ),
    Kernel("digamma", "backward cuts its series off", _always(0.0), _always(SERIES_ERROR)),
    Kernel("polygamma", "cuts its series off", _always(SERIES_ERROR), _always(SERIES_ERROR)),
    Kernel("sinc", "backward subtracts what cancels", _always(0.0), _always(SERIES_ERROR)),
    Kernel("tanhshrink", "subtracts what cancels", _always(SERIES_ERROR), _always(SERIES_ERROR)),
    Kernel(
        "exp",
        "is rounded otherwise in its last place; of complex numbers it is computed in float32",
        lambda *call: max(LAST_PLACE, _complex_error(*call)),
        lambda *call: max(LAST_PLACE, _complex_error(*call)),
    ),
    Kernel("cosine_embedding_loss", "leaves out an epsilon of 1e-12", _always(1e-7), _always(1e-7)),
    *(
        Kernel(
            name,
            f"holds its number in float32 before {major}.{minor}",
            error,
            error,
            (major, minor),
        )
        for names, error, (major, minor) in (
            (ADDITIONS, _added_error, (3, 0)),
            (("rsqrt", "hinge_embedding_loss"), _number_error(EPS32), (3, 0)),
            (("leaky_relu", "softplus", "pad", "logit"), _number_error(EPS32), (3, 3)),
        )
        for name in names
    ),
    Kernel("hardsigmoid", "holds its slope 1/6 in float32", _always(4e-7), _always(4e-7)),
    Kernel("selu", "holds scale and alpha in float32", _always(2e-7), _always(2e-7)),
    *(
        Kernel(name, "holds its constants in float32", _always(EPS32), _always(EPS32))
        for name in ("elu", "celu", "hardtanh", "softshrink", "rrelu", "local_response_norm")
    ),
    *(
        Kernel(name, "holds its numbers in float32", _number_error(error), _number_error(error))
        for name, error in (("addmm", 2 * EPS32), ("baddbmm", 2 * EPS32), ("threshold", EPS32))
    ),
    *(
        Kernel(name, "takes powers and roots in float32", _always(LP_ERROR), _always(2 * LP_ERROR))
        for name in ("lp_pool1d", "lp_pool2d")
    ),
    *(
        Kernel(name, "backward multiplies by 1 / k in float32", _always(0.0), _always(POOL_ERROR))
        for name in (
            *("avg_pool1d", "avg_pool2d", "avg_pool3d"),
            *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
        )
    ),
)
