"""Functions on tensors with torch's meaning."""

import warnings
from collections import namedtuple
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import paddle
import paddle.nn.functional as F

ValuesAndIndices = namedtuple("ValuesAndIndices", ["values", "indices"])


class Unspelled:
    """Stands for what of torch has no spelling and was never called: it raises when it is used."""

    def __init__(self, api: str, place: str) -> None:
        self.api, self.place = api, place

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Raise NotImplementedError."""
        raise NotImplementedError(f"{self.place}: {self.api} has no spelling in Paddle")

    def __getattr__(self, name: str) -> Any:
        """Raise AttributeError."""
        raise AttributeError(f"{self.place}: {self.api} has no spelling in Paddle")


def without_checkpoint(
    function: Any, *args: Any, use_reentrant: Any = None, preserve_rng_state: Any = None
) -> Any:
    """Call a function: `torch.utils.checkpoint` saves memory, and computes the same."""
    return function(*args)


def max_along(x: Any, axis: int, keepdim: bool = False) -> Any:
    """Return (values, indices) of the largest along an axis: Paddle's `max` returns values alone.

    The gradient goes to the one that is taken; Paddle shares it among equal ones.
    """
    indices = paddle.argmax(x, axis=axis, keepdim=True)
    values = paddle.take_along_axis(x, indices, axis=axis)
    if not keepdim:
        values, indices = values.squeeze(axis), indices.squeeze(axis)
    return ValuesAndIndices(values, indices)


def min_along(x: Any, axis: int, keepdim: bool = False) -> Any:
    """Return (values, indices) of the smallest along an axis: Paddle's `min` gives values."""
    values, indices = max_along(-x, axis, keepdim)
    return ValuesAndIndices(-values, indices)


def swap_axes(x: Any, first: int, second: int) -> Any:
    """Swap two axes: Paddle's `transpose` takes the order of all of them."""
    order = list(range(x.ndim))
    order[first], order[second] = order[second], order[first]
    return x.transpose(order)


class GivenOnce(int):
    """A number that a list of one held: Paddle's layers keep it once for each axis."""


def on_each_axis(number: Any, axes: int) -> Any:
    """Return a list of one number once for each axis, as torch reads it; Paddle wants it so."""
    if not isinstance(number, list | tuple) or len(number) != 1:
        return number
    made = [GivenOnce(one) if type(one) is int else one for one in number] * axes
    return made if isinstance(number, list) else tuple(made)


def as_given(sizes: Any) -> Any:
    """Return what a layer of torch keeps of its sizes: a list of one number as it was given."""
    several = isinstance(sizes, list | tuple) and len(sizes) > 1
    return sizes[:1] if several and all(type(one) is GivenOnce for one in sizes) else sizes


def split_by_size(x: Any, size: int, axis: int = 0) -> Any:
    """Cut an axis into pieces of `size`, the last may be smaller: Paddle takes their number."""
    whole, rest = divmod(x.shape[axis], size)
    if whole + bool(rest) == 1:
        return [x]
    return paddle.split(x, [size] * whole + [rest] * bool(rest), axis=axis)


def chunks_of(x: Any, chunks: int, axis: int = 0) -> Any:
    """Cut an axis into at most `chunks` pieces, the last may be smaller: Paddle wants even ones."""
    return split_by_size(x, -(-x.shape[axis] // chunks), axis)


def meshgrid_indexed(tensors: Sequence[Any], indexing: str = "ij") -> Any:
    """Return the grids of `meshgrid(indexing=)`: Paddle knows "ij" alone."""
    if indexing == "ij":
        return paddle.meshgrid(list(tensors))
    grids = paddle.meshgrid(list(tensors))
    return [grid.transpose([1, 0, *range(2, grid.ndim)]) for grid in grids]


def plain_numbers(given: Iterable[Any]) -> list[int]:
    """Return tensors of one number as numbers, where Paddle takes no tensors among them."""
    return [one.item() if isinstance(one, paddle.Tensor) else one for one in given]


def pad_from_last(x: Any, amounts: Sequence[int], value: float = 0.0) -> Any:
    """Pad pairs of axes from the last on: Paddle's order depends on their number."""
    pairs = [list(amounts[i : i + 2]) for i in range(0, len(amounts), 2)]
    pairs += [[0, 0]] * (x.ndim - len(pairs))
    cut = [
        slice(max(0, -a), n - max(0, -b)) for n, (a, b) in zip(x.shape, pairs[::-1], strict=True)
    ]
    kept = x[tuple(cut)]
    for axis, pair in enumerate(pairs[::-1]):
        before, after = (max(0, amount) for amount in pair)
        for size, first in ((before, True), (after, False)):
            if size:
                shape = [*kept.shape[:axis], size, *kept.shape[axis + 1 :]]
                filled = paddle.full(shape, value, dtype=kept.dtype)
                kept = paddle.concat([filled, kept] if first else [kept, filled], axis=axis)
    return kept


def var_and_mean(x: Any, axis: Any = None, unbiased: bool = True, keepdim: bool = False) -> Any:
    """Return (variance, mean): Paddle has no `var_mean`."""
    variance = paddle.var(x, axis=axis, unbiased=unbiased, keepdim=keepdim)
    return variance, paddle.mean(x, axis=axis, keepdim=keepdim)


def std_and_mean(x: Any, axis: Any = None, unbiased: bool = True, keepdim: bool = False) -> Any:
    """Return (standard deviation, mean): Paddle has no `std_mean`."""
    deviation = paddle.std(x, axis=axis, unbiased=unbiased, keepdim=keepdim)
    return deviation, paddle.mean(x, axis=axis, keepdim=keepdim)


def round_half_to_even(x: Any) -> Any:
    """Round halves to the even neighbour: Paddle rounds them away from 0."""
    floor = paddle.floor(x)
    odd = floor - 2 * paddle.floor(floor / 2)
    up = paddle.where(x - floor == 0.5, odd, (x - floor > 0.5).astype(x.dtype))
    return floor + up


def length_and_step(x: Any, axis: int, size: Any, scale_factor: Any) -> tuple[int, float]:
    """Return how long an axis of an image becomes, and how far apart its samples are.

    A factor sets the step as it is: `old / new` is another where the length was cut to an int.
    """
    old = x.shape[axis]
    given = scale_factor if size is None else size
    one = given[axis - 2] if isinstance(given, Sequence) else given
    return (int(old * one), 1 / one) if size is None else (one, old / one)


def resize_nearest_exact(x: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """Resize [N, C, ...] by mode "nearest-exact", which Paddle does not have."""
    for axis in range(2, x.ndim):
        new, step = length_and_step(x, axis, size, scale_factor)
        places = [min(int((i + 0.5) * step), x.shape[axis] - 1) for i in range(new)]
        x = paddle.index_select(x, paddle.to_tensor(places), axis=axis)
    return x


def scaled_size(x: Any, scale_factor: Any) -> list[int]:
    """Return an image's size times a factor: Paddle's `recompute_scale_factor` came with 3.1."""
    return [length_and_step(x, axis, None, scale_factor)[0] for axis in range(2, x.ndim)]


def resize_area(x: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """Resize [N, C, ...] by mode "area": Paddle's wants the size."""
    sizes = [length_and_step(x, axis, size, scale_factor)[0] for axis in range(2, x.ndim)]
    if x.ndim == 3:
        return F.adaptive_avg_pool1d(x, sizes[0])
    return (F.adaptive_avg_pool2d if x.ndim == 4 else F.adaptive_avg_pool3d)(x, sizes)


def max_pool_ceiled(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
    """Pool [N, C, H, W] with ceil_mode: Paddle keeps windows that begin in the padding."""
    kernel, pad = ([n, n] if isinstance(n, int) else list(n) for n in (kernel_size, padding))
    step = kernel if stride is None else [stride] * 2 if isinstance(stride, int) else list(stride)
    pooled = F.max_pool2d(x, kernel, step, pad, ceil_mode=True)
    sizes = []
    for n, k, s, p in zip(x.shape[2:], kernel, step, pad, strict=True):
        count = -(-(n + 2 * p - k) // s) + 1
        sizes.append(count - ((count - 1) * s >= n + p))
    return pooled[:, :, : sizes[0], : sizes[1]]


def cross_entropy_by_hand(
    logits: Any, label: Any, ignore_index: int = -100, reduction: str = "mean"
) -> Any:
    """Cross entropy over axis 1: Paddle's stops 64 below the highest logit, counts labels below 0,
    and gives 0 where nothing counts.
    """
    counted = label != ignore_index
    index = paddle.where(counted, label, paddle.zeros_like(label)).unsqueeze(1)
    picked = paddle.take_along_axis(logits, index, axis=1, broadcast=False).squeeze(1)
    loss = paddle.logsumexp(logits, axis=1) - picked
    loss = paddle.where(counted, loss, paddle.zeros_like(loss))
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / counted.astype(loss.dtype).sum()


def windows_along(x: Any, axis: int, size: int, step: int) -> Any:
    """Return windows of one axis as a last axis.

    The gradient of Paddle's `unfold` loses what windows share.
    """
    starts = range(0, x.shape[axis] - size + 1, step)
    places = [start + i for i in range(size) for start in starts]
    taken = paddle.index_select(x, paddle.to_tensor(places), axis=axis)
    parts = paddle.split(taken, size, axis=axis)
    return paddle.stack(parts, axis=-1)


def diagonal_matrices(x: Any) -> Any:
    """Put the last axis on the diagonal of matrices: Paddle's `diag_embed` stops the gradient."""
    return x.unsqueeze(-1) * paddle.eye(x.shape[-1], dtype=x.dtype)


def rms_norm(x: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    """Divide by the root of the mean square over the last axes; `eps` begins at the type's own."""
    count = len(normalized_shape) if isinstance(normalized_shape, list | tuple) else 1
    square = x.square().mean(axis=list(range(-count, 0)), keepdim=True)
    small = paddle.finfo(x.dtype).eps if eps is None else eps
    scaled = x * paddle.rsqrt(square + small)
    return scaled if weight is None else scaled * weight


def batch_norm_of_itself(
    x: Any, weight: Any = None, bias: Any = None, epsilon: float = 1e-5
) -> Any:
    """Normalise channels by this batch alone: Paddle's `batch_norm` wants statistics to update,
    and fails backward where only one of weight and bias is given.
    """
    axes, shape = [0, *range(2, x.ndim)], [1, -1] + [1] * (x.ndim - 2)
    apart = x - x.mean(axis=axes, keepdim=True)
    scaled = apart / paddle.sqrt(apart.square().mean(axis=axes, keepdim=True) + epsilon)
    scaled = scaled if weight is None else scaled * weight.reshape(shape)
    return scaled if bias is None else scaled + bias.reshape(shape)


def group_norm_without_weight(x: Any, groups: int, eps: float = 1e-5) -> Any:
    """Normalise groups of channels: the gradient of Paddle's, without a weight, is another."""
    parts = x.reshape([x.shape[0], groups, -1])
    mean = parts.mean(axis=-1, keepdim=True)
    variance = (parts - mean).square().mean(axis=-1, keepdim=True)
    return ((parts - mean) / paddle.sqrt(variance + eps)).reshape(x.shape)


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Any:
    """Attend over [..., length, size]: Paddle's own wants the heads behind the length."""
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = paddle.matmul(query, key, transpose_y=True) * factor
    if is_causal:
        attn_mask = paddle.ones(scores.shape[-2:], dtype="bool").tril()
    if attn_mask is not None and attn_mask.dtype == paddle.bool:
        scores = paddle.where(attn_mask, scores, paddle.full_like(scores, float("-inf")))
    elif attn_mask is not None:
        scores = scores + attn_mask
    return paddle.matmul(F.dropout(F.softmax(scores, axis=-1), dropout_p), value)


def bernoulli_(x: Any, p: float = 0.5) -> Any:
    """Fill a tensor with ones and zeros: Paddle's method is younger than some of its versions."""
    paddle.assign(paddle.bernoulli(paddle.full_like(x, p)), x)
    return x


def with_gradient(x: Any, wanted: bool = True) -> Any:
    """Ask for the gradient of a tensor, or not: `requires_grad_()`."""
    x.stop_gradient = not wanted
    return x


def dilation_of(pool: Any) -> Any:
    """Return the dilation of a pooling layer, as often as its size is told: Paddle's have none."""
    if hasattr(pool, "dilation"):
        return pool.dilation
    return (1,) * len(pool.ksize) if isinstance(pool.ksize, list | tuple) else 1


def device_type(place: Any) -> str:
    """Return torch's word for a device: "cuda" or "cpu"; Paddle has places, or strings."""
    return "cuda" if "gpu" in str(place) or "cuda" in str(place) else "cpu"


def default_dtype() -> Any:
    """Return the dtype that new tensors have: Paddle tells a string, which equals no dtype."""
    return getattr(paddle, paddle.get_default_dtype())


def is_floating_dtype(dtype: Any) -> bool:
    """Tell whether a dtype holds fractions: `dtype.is_floating_point`."""
    return dtype in (paddle.float16, paddle.bfloat16, paddle.float32, paddle.float64)


def in_dtype(x: Any, dtype: Any) -> Any:
    """Return a tensor in a dtype, as it is for None."""
    return x if dtype is None else x.astype(dtype)


def shifted_by_half(x: Any, dim: Any = None, back: bool = False) -> Any:
    """Roll axes by half their length: Paddle's `fftshift` takes one axis."""
    axes = list(range(x.ndim)) if dim is None else list(dim) if isinstance(dim, Iterable) else [dim]
    halves = [x.shape[axis] // 2 for axis in axes]
    return paddle.roll(x, [-n for n in halves] if back else halves, axis=axes)


def repeated(x: Any, times: int) -> tuple[Any, ...]:
    """Return one number as `times` of it, several as they are: `_pair` and the like."""
    return tuple(x) if isinstance(x, Iterable) else (x,) * times


def check(condition: Any, message: str = "") -> None:
    """Stop with a message: `torch._assert`."""
    if not bool(condition):
        raise AssertionError(message)


class NothingLoaded(dict):
    """What stands for downloaded PyTorch weights: it holds nothing, whatever is asked of it."""

    def __missing__(self, key: Any) -> Any:
        return self


def no_download(url: str) -> Any:
    """Load nothing where PyTorch weights would be downloaded: they do not fit this net as they are.

    It warns: convert the file, and load that.
    """
    warnings.warn(
        f"{url} holds PyTorch weights, of which nothing was loaded: convert the file", stacklevel=2
    )
    return NothingLoaded()


def as_it_is(function: Any = None, *_: Any, **__: Any) -> Any:
    """Return a function as it is: for decorators of torch's that compile it, or keep it so."""
    return as_it_is if function is None else function


def recorded_name(name: str, /, *default: Any, **known: Any) -> Any:
    """Return what `getattr(torch.nn, name)` gave when the net was ported, by torch's name.

    Other names are refused: what they are in Paddle was not looked up.
    """
    if name not in known and default:
        return default[0]
    if name not in known:
        raise NotImplementedError(f"{name}: not asked for when the net was ported")
    return known[name]


def module_of_port(name: str, package: str | None = None) -> Any:
    """Import a module by its name, the port's own where it has its package: a string names it.

    What torch's names hold is looked up by the port itself.
    """
    if name.partition(".")[0] == "torch":
        return paddle
    here = __name__.rpartition(".")[0]  # the port's folder
    for inside in (f"{here}.ported_{name}", f"{here}.{name}"):
        top = ".".join(inside.split(".")[: here.count(".") + 2])
        if not name.startswith(".") and find_spec(top) is not None:
            return import_module(inside)
    return import_module(name, package)


def name_of_module(module: Any) -> str:
    """Return `module.__name__` without the port's folder: registries call themselves after it."""
    here = __name__.rpartition(".")[0]
    return str(module.__name__).removeprefix(f"{here}.").removeprefix("ported_")


def located(path: str, known: Any = None) -> Any:
    """Return what a dotted path names, None where nothing is: `pydoc.locate`, in the port.

    known: what torch's paths stood for when the net was ported; others of torch's are refused.
    """
    if path in (known or {}):
        return known[path]
    if path.partition(".")[0] == "torch":
        raise NotImplementedError(f"{path}: not asked for when the net was ported")
    module, _, name = path.rpartition(".")
    try:
        return getattr(module_of_port(module), name) if module else module_of_port(name)
    except (AttributeError, ImportError):
        return None


def attribute_of(owner: Any, name: str, /, *default: Any, **known: Any) -> Any:
    """Return `getattr(owner, name)` by torch's name: Paddle's layers call some otherwise."""
    if name in known:
        return known[name](owner)
    return getattr(owner, name, *default)


def torchs_keywords(made: Any) -> dict[str, Any]:
    """Return what a `partial` gives, under torch's names: a class of your own may be given it."""
    given = dict(made.keywords)
    if made.func.__module__.startswith("paddle."):
        if "momentum" in given:
            given["momentum"] = 1 - given["momentum"]
        given = {{"epsilon": "eps", "bias_attr": "bias"}.get(k, k): v for k, v in given.items()}
    return given


def function_of(made: Any) -> Any:
    """Return what a `partial` calls: of a class here that stands for one of Paddle's, Paddle's."""
    return getattr(made.func, "stands_for", made.func)


def same_padding(weight: Any, dilation: Any = 1) -> list[int]:
    """Return the padding that keeps the size: Paddle's "SAME" sets the dilation to 1."""
    sizes = weight.shape[2:]
    steps = [dilation] * len(sizes) if isinstance(dilation, int) else dilation
    whole = [step * (size - 1) for step, size in zip(steps, sizes, strict=True)]
    return [part for both in whole for part in (both // 2, both - both // 2)]


def none_of(given: Any, *known: str) -> dict[str, Any]:
    """Return no keywords, and refuse those that no recorded call gave: their names are torch's."""
    only_of(given, *known)
    return {}


def only_of(given: Any, *known: str, left_out: Sequence[str] = ()) -> dict[str, Any]:
    """Return keywords that mean the same in both frameworks, and refuse others.

    left_out: what torch's class takes and Paddle's has no need of.
    """
    others = [name for name in given if name not in (*known, *left_out)]
    if others:
        raise NotImplementedError(f"{', '.join(others)}: not given when the net was ported")
    return {name: value for name, value in given.items() if name in known}


def as_torchs(kind: Any, *known: Any) -> Any:
    """Return what is to be called with torch's arguments where a variable holds `kind`.

    Of `known` the class made for it; what is not Paddle's is called as it is, other layers of
    Paddle's are refused: their arguments are others, or stand in another order.
    """
    for one in known:
        if kind in (one, one.__bases__[0], getattr(one, "stands_for", one)):
            return one
    if getattr(kind, "__module__", "").startswith("paddle."):
        raise NotImplementedError(f"{kind.__name__}: not called here when the net was ported")
    return kind


def require_traced(name: str, value: Any, traced: Sequence[Any]) -> None:
    """Raise ValueError where a `forward` from a traced graph meets what it does not hold for.

    Of a tensor `traced` are lengths of its axes, None for any.
    """
    if not paddle.is_tensor(value):
        fits = any(value == one for one in traced)
    else:
        fits = any(
            len(one) == value.ndim
            and all(a in (None, b) for a, b in zip(one, value.shape, strict=True))
            for one in traced
        )
    if not fits:
        met = value.shape if paddle.is_tensor(value) else value
        raise ValueError(f"{name} is {met}; this code was traced with {list(traced)}")
