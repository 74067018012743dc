"""What Paddle's functions compute otherwise than torch's: replacements to be tried in a replay.

Each is one row of docs/differences.md that shows in values: the function's name, when it may
matter, the cause, and the same call as torch computes it.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import paddle
from paddle import Tensor
from paddle.nn import functional

from align.judge.words import Cause

Arguments = Mapping[str, Any]
Replacing = Callable[[Any, Any, Any], Any]  # (function, args, kwargs) -> its result


def as_torch(name: str, arguments: Arguments) -> Iterator[tuple[Cause, Replacing]]:
    """Yield (cause, replacement) of a call of function `name` that may differ from torch's."""
    soft = arguments.get("label_smoothing") or arguments.get("soft_label")
    if name == "cross_entropy" and arguments.get("use_softmax", True):
        if soft and arguments.get("weight") is not None:
            yield Cause("weighs_samples"), cross_entropy
        if _divides_by_all(arguments):
            ignored = arguments["ignore_index"]
            yield Cause("divides_by_all", ignored=ignored), _mean_of_counted
        yield Cause("softmax_stops", function=name), cross_entropy
    if name == "log_softmax":
        yield Cause("softmax_stops", function=name), _log_softmax_of_call
    if name == "smooth_l1_loss" and arguments.get("delta", 1.0) != 1.0:
        yield Cause("huber", delta=arguments["delta"]), _smooth_l1
    if name == "median":
        yield Cause("median_of_two"), _median
    if name == "interpolate" and arguments.get("mode") in ("linear", "bilinear", "trilinear"):
        yield Cause("resized_to_one"), _interpolate
    pad = arguments.get("pad")
    axes = getattr(arguments.get("x"), "ndim", 0)
    if name == "pad" and isinstance(pad, (list, tuple)) and len(pad) == 2 * axes > 4:
        yield Cause("pads_first_axis_first"), _pad


def _given(function: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def log_softmax(logits: Tensor, axis: int) -> Tensor:
    """Return the logarithm of softmax, however far a logit is below the highest."""
    return logits - paddle.logsumexp(logits, axis=axis, keepdim=True)


def _log_softmax_of_call(function: Any, args: Any, kwargs: Any) -> Any:
    given = _given(function, args, kwargs)
    logits = given["x"] if given.get("dtype") is None else given["x"].astype(given["dtype"])
    return log_softmax(logits, given["axis"])


def cross_entropy(function: Any, args: Any, kwargs: Any) -> Any:
    """Compute cross entropy as torch does: each class by its weight, no loss cut off."""
    given = _given(function, args, kwargs)
    axis, share = given["axis"], given["label_smoothing"]
    logs = log_softmax(given["input"], axis).moveaxis(axis, -1)
    count, weight, label = logs.shape[-1], given["weight"], given["label"]
    weight = paddle.ones([count], logs.dtype) if weight is None else weight
    if given["soft_label"]:
        target, valid = label.moveaxis(axis, -1), paddle.ones(logs.shape[:-1], logs.dtype)
        divisor = valid.sum()
    else:
        label = label.squeeze(axis) if label.ndim == logs.ndim else label
        counted = label != given["ignore_index"]
        valid, label = counted.astype(logs.dtype), paddle.where(counted, label, 0 * label)
        target = functional.one_hot(label, count).astype(logs.dtype)
        divisor = ((target * weight).sum(-1) * valid).sum()
    smooth = target * (1 - share) + share / count
    losses = -(smooth * weight * logs).sum(-1) * valid
    if given["reduction"] == "none":
        return losses
    return losses.sum() if given["reduction"] == "sum" else losses.sum() / divisor


def _divides_by_all(arguments: Arguments) -> bool:
    """Tell whether a mean is over ignored elements, too: those below 0, without weights."""
    ignored, label = arguments.get("ignore_index", -100), arguments.get("label")
    mean = arguments.get("reduction", "mean") == "mean" and arguments.get("weight") is None
    if not mean or ignored >= 0 or arguments.get("soft_label") or label is None:
        return False
    return bool((label == ignored).any()) and bool((label != ignored).any())


def _mean_of_counted(function: Any, args: Any, kwargs: Any) -> Any:
    given = _given(function, args, kwargs)
    counted = int((given["label"] != given["ignore_index"]).astype("int64").sum())
    return function(*args, **kwargs) * (math.prod(given["label"].shape) / counted)


def _smooth_l1(function: Any, args: Any, kwargs: Any) -> Any:
    return function(*args, **kwargs) / _given(function, args, kwargs)["delta"]


def _median(function: Any, args: Any, kwargs: Any) -> Any:
    """Return the lower of the two values in the middle, without their indices."""
    given = _given(function, args, kwargs)
    axis, keepdim = given["axis"], given["keepdim"]
    x = given["x"].flatten() if axis is None else given["x"]
    axis = 0 if axis is None else axis
    lower = paddle.to_tensor([(x.shape[axis] - 1) // 2])
    found = paddle.index_select(paddle.sort(x, axis), lower, axis)
    return found if keepdim else found.squeeze(axis)


def _interpolate(function: Any, args: Any, kwargs: Any) -> Any:
    """Resize to one row or column as torch does: the middle of the input."""
    given = _given(function, args, kwargs)
    x, found = given["x"], function(*args, **kwargs)
    shape = list(found.shape[2:])
    kept = [x.shape[2 + i] if size == 1 else size for i, size in enumerate(shape)]
    settings = {name: given[name] for name in ("mode", "align_corners", "align_mode")}
    found = functional.interpolate(x, size=kept, **settings)
    for axis, size in enumerate(shape, 2):
        if size == 1:
            half = found.shape[axis] // 2
            middle = [half - 1, half] if found.shape[axis] % 2 == 0 else [half]
            found = paddle.index_select(found, paddle.to_tensor(middle), axis)
            found = found.mean(axis, keepdim=True)
    return found


def _pad(function: Any, args: Any, kwargs: Any) -> Any:
    given = inspect.signature(function).bind(*args, **kwargs)
    own = list(given.arguments["pad"])
    pairs = [own[index : index + 2] for index in range(0, len(own), 2)]
    given.arguments["pad"] = [number for pair in pairs[::-1] for number in pair]
    return function(*given.args, **given.kwargs)
