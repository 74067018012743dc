"""Faults in nets of strangers: code that writes, bounds, looks up, makes its own weights."""

import functools
import warnings
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import torch
import torch.nn.functional as TF
from paddle import nn
from torch import nn as tnn

from paddle_impl.layers import BatchNorm2D
from tests.faults.core import NET, RUN, Fault, Subject, attribute, fault, forward, weight


class TorchWritten(tnn.Module):
    """A ReLU in place whose input is read again; a block under two paths."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = tnn.Conv2d(3, 3, 1), tnn.Conv2d(3, 3, 1)
        self.act = tnn.ReLU(inplace=True)
        self.blocks = tnn.ModuleList([tnn.Sequential(tnn.Conv2d(3, 3, 3, padding=1), tnn.Tanh())])
        self.again = self.blocks[0]

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        x = self.last(self.act(x) + x)
        return self.again(self.blocks[0](x))


class Written(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2D(3, 3, 1), nn.Conv2D(3, 3, 1)
        self.act = nn.ReLU()
        self.blocks = nn.LayerList([nn.Sequential(nn.Conv2D(3, 3, 3, padding=1), nn.Tanh())])
        self.again = self.blocks[0]

    def forward(self, x: Any) -> Any:
        return written(self, x)


def written(
    net: Any,
    x: Any,
    skip: Any = lambda before, after: after,
    calls: Any = lambda net, x: net.again(net.blocks[0](x)),
) -> Any:
    """Run the net; each keyword replaces one piece of its code."""
    before = net.first(x)
    after = net.act(before)
    return calls(net, net.last(after + skip(before, after)))


class TorchBounded(tnn.Module):
    """Functions that bound values, far beyond what inputs reach."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = tnn.Conv2d(3, 4, 1), tnn.Conv2d(4, 4, 1)
        self.head = tnn.Conv2d(4, 2, 1)

    def forward(self, x: Any) -> Any:
        y = TF.relu6(self.conv(x)) * TF.hardswish(self.gate(TF.relu(self.conv(x))))
        return self.head(y).clamp(-50.0, 50.0)


class Bounded(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2D(3, 4, 1), nn.Conv2D(4, 4, 1)
        self.head = nn.Conv2D(4, 2, 1)

    def forward(self, x: Any) -> Any:
        return bounded(self, x)


def bounded(
    net: Any,
    x: Any,
    relu6: Any = lambda x: paddle.clip(x, 0, 6),
    swish: Any = lambda x: x * F.relu6(x + 3) / 6,
    clamp: Any = lambda x: paddle.minimum(
        paddle.maximum(x, paddle.to_tensor(-50.0, x.dtype)), paddle.to_tensor(50.0, x.dtype)
    ),
) -> Any:
    """Run the net, all functions in another spelling; each keyword replaces one of them."""
    y = relu6(net.conv(x)) * swish(net.gate(F.relu(net.conv(x))))
    return clamp(net.head(y))


class TorchSpectrum(tnn.Module):
    """A filter of the spectrum, as FNet's and FFC's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = tnn.Conv2d(3, 4, 1)
        self.filter = TorchFilter()

    def forward(self, x: Any) -> Any:
        spectrum = torch.fft.rfft2(self.conv(x), norm="ortho")
        return torch.fft.irfft2(self.filter(spectrum), s=x.shape[2:], norm="ortho")


class TorchFilter(tnn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = tnn.Parameter(torch.linspace(0.5, 1.5, 4).reshape(1, 4, 1, 1))
        self.shift = tnn.Parameter(torch.linspace(-0.5, 0.5, 4).reshape(1, 4, 1, 1))

    def forward(self, x: Any) -> Any:
        return x * torch.complex(self.gain, self.shift)


class Spectrum(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2D(3, 4, 1)
        self.filter = Filter()

    def forward(self, x: Any) -> Any:
        return spectrum(self, x)


class Filter(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.gain = self.create_parameter([1, 4, 1, 1])
        self.shift = self.create_parameter([1, 4, 1, 1])

    def forward(self, x: Any) -> Any:
        return filtered(self, x)


def spectrum(net: Any, x: Any, norm: str = "ortho") -> Any:
    """Run the net."""
    found = paddle.fft.rfft2(net.conv(x), norm=norm)
    return paddle.fft.irfft2(net.filter(found), s=x.shape[2:], norm="ortho")


def filtered(layer: Any, x: Any, sign: float = 1.0, end: Any = lambda x: x) -> Any:
    """Run the filter."""
    return end(x * paddle.complex(layer.gain, layer.shift * sign))


class TorchProduct(tnn.Module):
    """A square matrix [in, out], as GPT-2's Conv1D holds it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = tnn.Parameter(torch.randn(size, size) * 0.3)
        self.bias = tnn.Parameter(torch.randn(size) * 0.1)

    def forward(self, x: Any) -> Any:
        return x @ self.weight + self.bias


class TorchTables(tnn.Module):
    """Rows that inputs do not look up, whole numbers in buffers, a matrix [in, out]."""

    def __init__(self) -> None:
        super().__init__()
        self.words = tnn.Embedding(9, 6)
        self.product = TorchProduct(6)
        self.head = tnn.Linear(6, 3)
        self.register_buffer("order", torch.tensor([3, 1, 0, 2]))
        self.register_buffer("mask", torch.tensor([True, False, True, True]))

    def forward(self, tokens: Any) -> Any:
        x = self.product(self.words(tokens))[:, self.order]
        return self.head(x * self.mask[:, None])


class Tables(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 6)
        self.product = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)
        self.register_buffer("order", paddle.to_tensor([3, 1, 0, 2]))
        self.register_buffer("mask", paddle.to_tensor([True, False, True, True]))

    def forward(self, tokens: Any) -> Any:
        x = paddle.index_select(self.product(self.words(tokens)), self.order, axis=1)
        return self.head(x * self.mask.unsqueeze(-1).astype(x.dtype))


class TorchHooked(tnn.Module):
    """Weights that hooks make before every call."""

    def __init__(self) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the older of torch's two interfaces
            self.conv = tnn.utils.weight_norm(tnn.Conv2d(3, 4, 3))
            self.head = tnn.utils.spectral_norm(tnn.Conv2d(4, 2, 1))

    def forward(self, x: Any) -> Any:
        return self.head(torch.relu(self.conv(x)))


class Hooked(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.utils.weight_norm(nn.Conv2D(3, 4, 3))
        self.head = nn.utils.spectral_norm(nn.Conv2D(4, 2, 1))

    def forward(self, x: Any) -> Any:
        return self.head(F.relu(self.conv(x)))


class TorchOutputs(tnn.Module):
    """Features in a dict; attention that nobody asks for its maps."""

    def __init__(self) -> None:
        super().__init__()
        self.features = TorchFeatures()
        self.attn = tnn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Any) -> Any:
        features = self.features(x)
        high = features["high"]
        return {"out": self.attn(high, high, high, need_weights=False)[0], "low": features["low"]}


class TorchFeatures(tnn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = tnn.Linear(4, 8), tnn.Linear(8, 8)

    def forward(self, x: Any) -> Any:
        low = self.low(x)
        return {"high": self.high(torch.tanh(low)), "low": low}


class Outputs(nn.Layer):
    """The same with lists, and attention that always gives its maps."""

    def __init__(self) -> None:
        super().__init__()
        self.features = Features()
        self.attn = nn.MultiHeadAttention(8, 2, need_weights=True)

    def forward(self, x: Any) -> Any:
        return outputs(self, x)


class Features(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.Linear(4, 8), nn.Linear(8, 8)

    def forward(self, x: Any) -> Any:
        low = self.low(x)
        return [self.high(paddle.tanh(low)), low]


def outputs(net: Any, x: Any, order: int = 1, taken: int = 0, picked: int = 0) -> Any:
    """Run the net: the outputs' order, the feature that is attended, the result that is used."""
    features = net.features(x)
    high = features[taken]
    return [net.attn(high, high, high)[picked], features[1]][::order]


class TorchFresh(tnn.Module):
    """A residual branch that starts as nothing: its last scale is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = tnn.Conv2d(3, 3, 3, padding=1, bias=False), tnn.BatchNorm2d(3)
        self.head = tnn.Conv2d(3, 2, 1)
        tnn.init.zeros_(self.norm.weight)

    def forward(self, x: Any) -> Any:
        return self.head(x + self.norm(self.conv(x)))


class Fresh(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2D(3, 3, 3, padding=1, bias_attr=False), BatchNorm2D(3)
        self.head = nn.Conv2D(3, 2, 1)

    def forward(self, x: Any) -> Any:
        return fresh(self, x)


def fresh(net: Any, x: Any, add: Any = lambda x, branch: x + branch) -> Any:
    """Run the net; `add` is how the branch comes to it."""
    return net.head(add(x, net.norm(net.conv(x))))


class TorchPrecise(tnn.Module):
    """A normalisation and a softmax in float32, whatever the net's type is."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm = tnn.Linear(8, 8), TorchRms()

    def forward(self, x: Any) -> Any:
        x = self.norm(self.fc(x))
        scores = TF.softmax(x @ x.transpose(1, 2), dim=-1, dtype=torch.float32)
        return scores.to(x.dtype) @ x


class TorchRms(tnn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = tnn.Parameter(torch.linspace(0.5, 1.5, 8))

    def forward(self, x: Any) -> Any:
        kind = x.dtype
        x = x.float()
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)).to(kind)


class Precise(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm = nn.Linear(8, 8), Rms()

    def forward(self, x: Any) -> Any:
        return precise(self, x)


class Rms(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.weight = self.create_parameter([8])

    def forward(self, x: Any) -> Any:
        return rms(self, x)


def precise(net: Any, x: Any, axis: int = -1) -> Any:
    """Run the net."""
    x = net.norm(net.fc(x))
    scores = F.softmax(paddle.matmul(x, x, transpose_y=True), axis=axis, dtype="float32")
    return paddle.matmul(scores.astype(x.dtype), x)


def rms(layer: Any, x: Any, epsilon: float = 1e-6, dtype: str = "float32") -> Any:
    """Normalise by the root of the mean square."""
    kind = x.dtype
    x = x.astype(dtype)
    x = x * paddle.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon)
    return layer.weight * x.astype(kind)


def subject(reference: Any, port: Any, inputs: Any) -> Any:
    """Return what builds a pair that is filled as a stranger's is."""

    def make() -> Subject:
        from align.pairing.fill import fill_port
        from align.pairing.reference_torch import LiveReference

        torch.manual_seed(11)
        paddle.seed(11)
        s = Subject(reference(), port(), inputs=inputs(np.random.default_rng(11)))
        fill_port(LiveReference(s.torch_net), s.paddle_net)
        s.stages = tuple(NET.split())
        return s

    return make


def image(rng: Any) -> Any:
    return [rng.standard_normal((2, 3, 6, 5))]


SUBJECTS = {
    "written": subject(TorchWritten, Written, image),
    "bounded": subject(TorchBounded, Bounded, image),
    "spectrum": subject(TorchSpectrum, Spectrum, lambda rng: [rng.standard_normal((2, 3, 8, 6))]),
    "tables": subject(TorchTables, Tables, lambda rng: [rng.integers(0, 7, (3, 4))]),
    "hooked": subject(TorchHooked, Hooked, image),
    "float32": subject(TorchPrecise, Precise, lambda rng: [rng.standard_normal((2, 6, 8))]),
    "fresh": subject(TorchFresh, Fresh, image),
    "outputs": subject(TorchOutputs, Outputs, lambda rng: [rng.standard_normal((2, 5, 4))]),
}


def code(run: Any, path: str = "", **pieces: Any) -> Any:
    return forward(path, functools.partial(run, **pieces))


def _buffer(name: str, values: Any) -> Any:
    return lambda s: s.layer("").register_buffer(name, paddle.to_tensor(values))


def _row(s: Subject) -> None:
    """A row that no input looks up."""
    values = s.layer("words").weight.numpy().copy()
    values[8] += 1.0
    s.layer("words").weight.set_value(values)


wrote = functools.partial(fault, subject="written")
bound = functools.partial(fault, subject="bounded")
fft = functools.partial(fault, subject="spectrum")
held = functools.partial(fault, subject="tables")
hook = functools.partial(fault, subject="hooked")
cast = functools.partial(fault, subject="float32")
start = functools.partial(fault, subject="fresh")
shape = functools.partial(fault, subject="outputs")
BOUND = r"stands for the reference's|bounds values here"

FAULTS: tuple[Fault, ...] = (
    wrote(
        "the skip reads what stood there before",
        stages=RUN,
        layers="",
        apply=code(written, skip=lambda before, after: before),
    ),
    wrote(
        "a shared block is called once only",
        stages=RUN,
        layers="",
        cause="call",
        apply=code(written, calls=lambda net, x: net.again(x)),
    ),
    bound("relu for relu6", stages=RUN, layers="", cause=BOUND, apply=code(bounded, relu6=F.relu)),
    bound(
        "another upper bound",
        stages=RUN,
        layers="",
        cause=BOUND,
        apply=code(bounded, relu6=lambda x: paddle.clip(x, 0, 5)),
    ),
    bound(
        "relu in a hard swish",
        stages=RUN,
        layers="",
        cause=BOUND,
        apply=code(bounded, swish=lambda x: x * F.relu(x + 3) / 6),
    ),
    bound(
        "a clamp is missing",
        stages=RUN,
        layers="",
        cause=BOUND,
        apply=code(bounded, clamp=lambda x: x),
    ),
    fft(
        "the spectrum is not scaled",
        stages=RUN,
        layers="",
        cause="times|norm",
        apply=code(spectrum, norm="backward"),
    ),
    fft(
        "the filter is conjugated",
        stages=RUN,
        layers="filter",
        apply=code(filtered, "filter", sign=-1.0),
    ),
    fft(
        "the phase is lost",
        stages=RUN,
        layers="filter",
        apply=code(filtered, "filter", end=lambda x: paddle.complex(x.abs(), x.imag() * 0)),
    ),
    held(
        "a row that no input looks up",
        stages=NET,
        layers="words",
        cause="of 54 values",
        apply=_row,
    ),
    held(
        "square matrix transposed",
        stages=NET,
        layers="product",
        cause="transposed",
        apply=weight("product", lambda w: w.T),
    ),
    held(
        "indices in another order",
        stages="weights forward train backward",
        layers="",
        apply=_buffer("order", [3, 0, 1, 2]),
    ),
    held(
        "another mask",
        stages="weights forward train backward",
        layers="",
        apply=_buffer("mask", [False, True, True, True]),
    ),
    hook(
        "length of the weight's rows",
        stages=NET,
        layers="conv",
        cause="times",
        apply=weight("conv", lambda w: w * 2.0, "weight_g"),
    ),
    hook(
        "direction of the weight",
        stages=NET,
        layers="conv",
        apply=weight("conv", lambda w: w[:, ::-1], "weight_v"),
    ),
    cast(
        "another epsilon inside float32",
        stages=RUN,
        layers="norm",
        cause="1e-06|1e-6",
        apply=code(rms, "norm", epsilon=1e-5),
    ),
    cast(
        "one side alone computes in float32",
        stages=RUN,
        layers="norm",
        cause="float32",
        apply=code(rms, "norm", dtype="float64"),
    ),
    cast(
        "softmax in float32 over another axis",
        stages=RUN,
        layers="",
        cause="softmax.*axis",
        apply=code(precise, axis=1),
    ),
    start(
        "a branch behind a zero weight counts twice",
        stages=RUN,
        layers="",
        apply=code(fresh, add=lambda x, branch: x + branch + branch),
    ),
    start(
        "a normalisation behind a zero weight has another epsilon",
        stages=NET,
        layers="norm",
        cause="epsilon",
        apply=attribute("norm", _epsilon=1e-2),
    ),
    shape("outputs in another order", stages=RUN, layers="", apply=code(outputs, order=-1)),
    shape(
        "another feature is attended",
        stages=RUN,
        layers="",
        apply=code(outputs, taken=1),
    ),
    shape(
        "heads that do not exist",
        stages=NET,
        layers="attn",
        cause="heads",
        apply=attribute("attn", num_heads=4, head_dim=2),
    ),
)
