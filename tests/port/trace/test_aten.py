"""Every row of the traced operations, in float64 against torch."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align.judge.kernels import paddle_version
from port.helpers import helper_names, source_of
from port.record.describe_torch import described
from port.trace.aten import aten_rows
from port.trace.graph import Ref, TracedGraph, TracedNode
from port.trace.lines import LineWriter

RNG = np.random.default_rng(0)
ARRAYS = {
    "x": RNG.normal(size=(2, 4, 6, 6)),
    "y": RNG.normal(size=(2, 4, 6, 6)),
    "positive": RNG.random((2, 3)) + 0.5,
    "inside": RNG.random((2, 3)) * 1.6 - 0.8,
    "m": RNG.normal(size=(3, 4)),
    "n": RNG.normal(size=(4, 5)),
    "a": RNG.normal(size=(2, 3, 4)),
    "b": RNG.normal(size=(2, 4, 5)),
    "v": RNG.normal(size=4),
    "w": RNG.normal(size=(5, 4, 3, 3)),
    "w1": RNG.normal(size=(5, 4, 3)),
    "w3": RNG.normal(size=(2, 4, 1, 1, 1)),
    "x5": RNG.normal(size=(1, 4, 2, 3, 3)),
    "wt": RNG.normal(size=(4, 3, 2, 2)),
    "lin": RNG.normal(size=(5, 6)),
    "five": RNG.normal(size=5),
    "six": RNG.normal(size=6),
    "plane": RNG.normal(size=(2, 4, 6)),
    "slab": RNG.normal(size=(2, 6, 6)),
    "row": RNG.normal(size=(2, 1, 6, 6)),
    "mask": RNG.normal(size=(2, 4, 6, 6)) > 0,
    "mask2": RNG.normal(size=(2, 4, 6, 6)) > 0,
    "index": np.array([0, 2, 1]),
    "places": RNG.integers(0, 4, size=(2, 4, 6, 6)),
    "steps": np.array([-1.0, 0.0, 0.5, 2.0]),
    "three": RNG.normal(size=(2, 3)),
    "square": RNG.normal(size=(5, 5)) + 4 * np.eye(5),
    "wt1": RNG.normal(size=(4, 3, 2)),
    "flat": RNG.normal(size=(2, 144)),
    "wave": RNG.normal(size=(2, 3)) + 1j * RNG.normal(size=(2, 3)),
    "pairs": RNG.normal(size=(3, 2)),
    "source": RNG.normal(size=(2, 3, 6, 6)),
    "three2": RNG.normal(size=(2, 3)),
    "m2": RNG.normal(size=(3, 4)),
    "spread4": RNG.random(size=(2, 4, 6, 6)) + 0.5,
    "whole": RNG.integers(1, 9, size=(2, 4)),
}
# Of each number, on `inside`; what asks for another domain stands in SAMPLES.
UNARY = """
relu relu6 sigmoid tanh exp expm1 square abs neg sign sin cos tan asin acos atan sinh cosh erf
floor ceil trunc isnan isinf silu gelu mish selu hardswish hardsigmoid log_sigmoid hardtanh elu
celu leaky_relu softplus hardshrink softshrink round clone contiguous alias lift_fresh_copy
detach reciprocal
"""
BINARY = """
add.Tensor sub.Tensor mul.Tensor div.Tensor maximum.default minimum.default atan2.default
eq.Tensor ne.Tensor lt.Tensor le.Tensor gt.Tensor ge.Tensor remainder.Tensor fmod.Tensor
floor_divide.default max.other min.other
"""
SAMPLES = {
    "absolute.default isfinite.default nan_to_num.default": ["x"],
    "erfinv.default": ["inside"],
    "addcdiv.default": ["x, y, spread4, value=2"],
    "logaddexp.default": ["x, y"],
    "dot.default": ["v, v"],
    "cross.default": ["three, three2, dim=-1"],
    "cdist.default": ["m, m2"],
    "cosine_similarity.default": ["x, y, 1"],
    "searchsorted.Tensor": ["steps, x"],
    "bucketize.Tensor": ["x, steps", "x, steps, right=True"],
    "linalg_solve.default": ["square, five"],
    "special_logsumexp.default": ["x, [1], True"],
    "linalg_vector_norm.default": ["x, 2, [1], True", "x, 1, [2]", "x", "x, 2, [2, 3]"],
    "norm.ScalarOpt_dim": ["x, 2, [1], True"],
    "var_mean.correction": ["x, [1], correction=0, keepdim=True"],
    "count_nonzero.dim_IntList": ["x, [1]"],
    "cummax.default cummin.default": ["x, 1"],
    "diff.default": ["x, 1, -1"],
    "trace.default": ["square"],
    "inverse.default linalg_inv.default linalg_det.default": ["square"],
    "take_along_dim.default": ["x, places, 1"],
    "scatter.src scatter_add.default": ["x, 1, places, y"],
    "scatter.value": ["x, 1, places, 0.5"],
    "index_add.default": ["x, 1, index, source"],
    "index_fill.int_Scalar": ["x, 1, index, 0.5"],
    "masked_scatter.default": ["x, mask, y"],
    "swapaxes.default swapdims.default": ["x, 1, -1"],
    "broadcast_to.default": ["row, [2, 4, 6, 6]"],
    "view_as.default reshape_as.default": ["x, flat"],
    "unfold.default": ["x, 2, 3, 2"],
    "rot90.default": ["x, 1, [2, 3]"],
    "diag_embed.default": ["m"],
    "one_hot.default": ["index, 4"],
    "channel_shuffle.default": ["x, 2"],
    "convolution.default": [
        "x, w, None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1",
        "x, wt, None, [2, 2], [0, 0], [1, 1], True, [1, 1], 1",
        "plane, w1, five, [1], [1], [1], False, [0], 1",
    ],
    "conv_transpose1d.default": ["plane, wt1, None, [2]"],
    "avg_pool1d.default": ["plane, [2]", "plane, [3], [2], [1], False, False"],
    "max_pool1d.default": ["plane, [2]"],
    "adaptive_avg_pool1d.default": ["plane, [3]"],
    "fft_fft.default fft_rfft.default": ["x", "x, norm='ortho'"],
    "fft_fft2.default fft_rfft2.default": ["x", "x, norm='ortho'"],
    "fft_fftn.default fft_rfftn.default": ["x", "x, None, [1, 2]"],
    "fft_ifftn.default": ["wave"],
    "fft_irfftn.default": ["wave, [2, 4], [-2, -1]"],
    "fft_ifft.default fft_ifft2.default": ["wave"],
    "fft_irfft.default": ["wave, 4"],
    "fft_irfft2.default": ["wave, [2, 4]"],
    "complex.default": ["x, y"],
    "view_as_complex.default": ["pairs"],
    "view_as_real.default real.default imag.default angle.default": ["wave"],
    "new_zeros.default new_ones.default": ["x, [2, 3]"],
    "new_full.default": ["x, [2, 3], 0.5"],
    "eye.default": ["3"],
    "log.default log2.default log10.default log1p.default sqrt.default rsqrt.default": ["positive"],
    "logical_not.default": ["mask"],
    "gelu.default": ["x, approximate='tanh'"],
    "hardtanh.default": ["x, -0.5, 0.75"],
    "elu.default celu.default": ["x, 0.75"],
    "leaky_relu.default": ["x, 0.2"],
    "softplus.default": ["x, 2.0, 10.0"],
    "hardshrink.default softshrink.default": ["x, 0.25"],
    "prelu.default": ["x, v"],
    "glu.default": ["x, 1"],
    "clamp.default": ["x, -0.5, 0.5", "x, None, 0.5"],
    "clamp_min.default clamp_max.default": ["x, 0.1"],
    "add.Tensor": ["x, 2", "x, y, alpha=3"],
    "sub.Tensor rsub.Scalar": ["x, 2"],
    "div.Tensor_mode": ["whole, 2, rounding_mode='floor'"],
    "pow.Tensor_Scalar": ["x, 2"],
    "pow.Tensor_Tensor": ["positive, inside"],
    "eq.Scalar ge.Scalar": ["x, 0"],
    "logical_and.default logical_or.default logical_xor.default": ["mask, mask2"],
    "where.self": ["mask, x, y"],
    "masked_fill.Scalar": ["x, mask, 0.0"],
    "lerp.Scalar": ["x, y, 0.3"],
    "addcmul.default": ["x, y, y, value=2"],
    "addmm.default": ["five, m, n"],
    "baddbmm.default": ["five, a, b"],
    "matmul.default": ["a, b", "x, y"],
    "mm.default": ["m, n"],
    "bmm.default": ["a, b"],
    "mv.default": ["m, v"],
    "outer.default": ["v, five"],
    "linear.default": ["x, lin, five", "x, lin"],
    "einsum.default": ["'bij,bjk->bik', [a, b]"],
    "sum.default mean.default max.default min.default any.default all.default": ["x"],
    "sum.dim_IntList mean.dim": ["x, [2, 3], True", "x, [1]"],
    "prod.dim_int any.dim all.dim argmax.default argmin.default": ["x, 1"],
    "amax.default amin.default": ["x, [1], True"],
    "max.dim min.dim": ["x, 1", "x, -1, True"],
    "var.dim std.dim": ["x, [1], False, True"],
    "var.correction std.correction": ["x, [1], correction=0, keepdim=True", "x, [1]"],
    "cumsum.default cumprod.default": ["x, 1"],
    "logsumexp.default": ["x, [1], True"],
    "softmax.int log_softmax.int": ["x, 1"],
    "topk.default": ["x, 2, 1"],
    "sort.default argsort.default": ["x, 1"],
    "view.default _unsafe_view.default reshape.default": ["x, [2, -1, 6]"],
    "permute.default": ["x, [0, 2, 3, 1]"],
    "transpose.int": ["x, 1, -1"],
    "t.default": ["m"],
    "unsqueeze.default": ["x, 1"],
    "squeeze.dim": ["row, 1"],
    "squeeze.default": ["row"],
    "flatten.using_ints": ["x, 2"],
    "unflatten.int": ["x, 1, [2, 2]"],
    "expand.default": ["row, [2, 3, 6, 6]", "row, [-1, 4, -1, -1]"],
    "expand_as.default": ["row, x"],
    "repeat.default": ["m, [2, 1]"],
    "tile.default": ["m, [2, 1]"],
    "repeat_interleave.self_int": ["x, 2, 1"],
    "cat.default concat.default": ["[x, row], 1"],
    "stack.default": ["[x, y], 1"],
    "split.Tensor": ["x, 2, 1", "x, 4, -1"],
    "split_with_sizes.default": ["x, [1, 3], 1"],
    "chunk.default": ["x, 2, 1"],
    "unbind.int": ["x, 1"],
    "slice.Tensor": ["x, 1, 1, 3", "x, -1, -2, 9223372036854775807", "x, 2, 0, 6, 2", "x, 0, 0"],
    "select.int": ["x, 1, 2", "x, -1, -1"],
    "index.Tensor": ["x, [None, index]", "x, [None, None, index, index]"],
    "narrow.default": ["x, 1, 1, 2"],
    "index_select.default": ["x, 1, index"],
    "gather.default": ["x, 1, places"],
    "roll.default": ["x, [1, -2], [2, 3]"],
    "flip.default": ["x, [2]"],
    "tril.default triu.default": ["x, 1"],
    "diagonal.default": ["x, 0, 2, 3"],
    "movedim.int": ["x, 1, -1"],
    "pixel_shuffle.default": ["x, 2"],
    "pixel_unshuffle.default": ["x, 2"],
    "meshgrid.indexing": ["[v, five], indexing='ij'"],
    "pad.default": ["x, [1, 2, 0, 1]", "x, [1, 1, 1, 1], 'reflect'"],
    "constant_pad_nd.default": ["x, [1, 2], 0.5"],
    "to.dtype": ["x, torch.float64", "mask, torch.float64"],
    "_to_copy.default": ["mask, dtype=torch.float64"],
    "type_as.default": ["mask, x"],
    "select_scatter.default": ["x, slab, 1, 2"],
    "slice_scatter.default": ["x, row, 1, 2, 3", "x, y, 0, 0, 9223372036854775807"],
    "copy.default": ["x, y"],
    "conv1d.default": ["plane, w1, five, [1], [1]"],
    "conv2d.default": ["x, w, five, [2, 2], [1, 1]", "x, w"],
    "conv3d.default": ["x5, w3"],
    "conv_transpose2d.input": ["x, wt, None, [2, 2]"],
    "max_pool2d.default": ["x, [2, 2]", "x, [3, 3], [2, 2], [1, 1]"],
    "avg_pool2d.default": ["x, [2, 2]", "x, [3, 3], [2, 2], [1, 1], False, False"],
    "adaptive_avg_pool2d.default": ["x, [1, 1]", "x, [2, 3]"],
    "layer_norm.default": ["x, [6], six, six, 2**-10"],
    "group_norm.default": ["x, 2, v, v, 2**-10"],
    "batch_norm.default": ["x, v, v, v, v * v + 1, False, 0.1, 2**-10, False"],
    "dropout.default feature_dropout.default": ["x, 0.5, False"],
    "embedding.default": ["m, index"],
    "upsample_bilinear2d.vec": ["x, [9, 12], True, None", "x, None, False, [2.0, 2.0]"],
    "upsample_nearest2d.vec": ["x, [12, 12], None"],
    "scaled_dot_product_attention.default": ["x, y, y"],
    "im2col.default": ["x, [3, 3], [1, 1], [1, 1], [1, 1]"],
    "zeros.default ones.default": ["[2, 3]"],
    "full.default": ["[2, 3], 1.5"],
    "zeros_like.default ones_like.default": ["x"],
    "full_like.default": ["x, 2.0"],
    "arange.default": ["5, dtype=torch.int64"],
    "arange.start": ["1, 5, dtype=torch.int64"],
    "arange.start_step": ["1, 9, 2, dtype=torch.int64"],
    "linspace.default": ["0.0, 1.0, 5"],
    "scalar_tensor.default": ["1.5", "1"],
    "detach_.default": ["x"],
}

# Paddle holds a constant of these, or a ratio, in float32.
ROUNDED = ("selu.default", "hardsigmoid.default", "upsample_bilinear2d.vec")
ROUNDED += ("leaky_relu.default",) if paddle_version() < (3, 3) else ()


def _all() -> dict[str, list[str]]:
    found = {f"{name}.default": ["inside"] for name in UNARY.split()}
    found |= {name: ["x, y"] for name in BINARY.split()}
    for names, samples in SAMPLES.items():
        for name in names.split():
            found[name] = [*found.get(name, []), *samples]
    return found


def _value(value, names):
    if isinstance(value, torch.Tensor):
        return (
            Ref(next(k for k, v in names.items() if v is value))
            if any(v is value for v in names.values())
            else pytest.fail("a sample's tensors need names")
        )
    if isinstance(value, list):
        return tuple(_value(one, names) for one in value)
    if isinstance(value, torch.dtype):
        return ("dtype", str(value).removeprefix("torch."))
    return value


def _forward(op: str, sample: str, names):
    """Return (torch's result, the lines) of an operation as it stands in a graph."""
    packet, _, overload = op.rpartition(".")
    operation = getattr(getattr(torch.ops.aten, packet), overload)
    args, kwargs = eval(f"(lambda *a, **k: (a, k))({sample})", {"torch": torch, **names})
    result = operation(*args, **kwargs)
    parameters = operation._schema.arguments
    given = dict(zip((p.name for p in parameters), args, strict=False)) | kwargs
    defaults = {p.name: p.default_value for p in parameters if p.has_default_value()}
    kept = tuple(
        (name, _value(value, names))
        for name, value in given.items()
        if isinstance(value, torch.Tensor) or name not in defaults or value != defaults[name]
    )
    graph = TracedGraph(
        inputs={name: name for name in names},
        facts={name: described(value) for name, value in names.items()},
        nodes=[TracedNode("result", f"aten.{op}", kept, described(result))],
        output=Ref("result"),
    )
    return result, LineWriter(graph, False, lambda spelled: spelled.text).written()


@pytest.fixture(scope="module")
def namespace():
    """What the lines may name."""
    before = torch.get_default_dtype(), paddle.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    paddle.set_default_dtype("float64")
    from paddle import nn

    made = {"paddle": paddle, "nn": nn, "F": paddle.nn.functional}
    exec(compile(source_of(helper_names()), "torch_calls.py", "exec"), made)
    yield made
    torch.set_default_dtype(before[0])
    paddle.set_default_dtype(before[1])


def _flat(result):
    many = isinstance(result, list | tuple)
    return [one.numpy() for one in (result if many else [result])]


@pytest.mark.parametrize("op", sorted(_all()))
def test_row(op, namespace):
    names = {name: torch.from_numpy(array.copy()) for name, array in ARRAYS.items()}
    if "* v + 1" in str(_all()[op]):
        names["spread"] = names["v"] ** 2 + 1
    for sample in _all()[op]:
        theirs, lines = _forward(op, sample.replace("v * v + 1", "spread"), names)
        source = "def forward():\n" + "".join(f"    {line}\n" for line in lines)
        given = {name: paddle.to_tensor(value.numpy()) for name, value in names.items()}
        scope = {**namespace, **given, "self": None}
        exec(source, scope)
        ours = scope["forward"]()
        for a, b in zip(_flat(ours), _flat(theirs), strict=True):
            allowed = 1e-6 if op in ROUNDED else 1e-10
            np.testing.assert_allclose(a, b, allowed, allowed, err_msg=f"{sample}\n{source}")


def test_every_row_has_a_sample():
    tried = {f"aten.{name}" for name in _all()}
    tried |= {name.rpartition(".")[0] for name in tried}
    assert set(aten_rows()) <= tried, sorted(set(aten_rows()) - tried)
