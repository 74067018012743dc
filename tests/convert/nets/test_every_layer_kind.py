"""Every parameterised layer of Paddle, filled from torch's: equal outputs and gradients."""

import numpy as np
import pytest

from common.errors import ConversionError
from convert import convert_state

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn
from torch.nn.utils import parametrizations

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(autouse=True)
def _float64():
    paddle.set_default_dtype("float64")
    torch.manual_seed(0)
    yield
    paddle.set_default_dtype("float32")


def arrays_of(net):
    return {k: v.detach().numpy().copy() for k, v in net.state_dict().items()}


def filled(ours, theirs):
    """Give both random weights, convert, load; every tensor of Paddle's must be taken."""
    ours = ours.double()
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for name, tensor in ours.state_dict().items():
            if tensor.is_floating_point() and not name.endswith(("._u", "._v", "weight_u")):
                if ".weight_v" in f".{name}" and tensor.ndim == 1:
                    continue  # spectral norm's vectors are unit vectors
                values = rng.uniform(0.2, 1.0, tuple(tensor.shape))
                signs = 1 if "var" in name else rng.choice([-1, 1], tuple(tensor.shape))
                tensor.copy_(torch.from_numpy(np.asarray(values * signs)))
    made = convert_state(arrays_of(ours), theirs)
    assert theirs.set_state_dict(made.state) == ([], [])
    assert set(made.state) == set(theirs.state_dict())
    return made


def image(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape)


def flat(outputs):
    if isinstance(outputs, (tuple, list)):
        return [leaf for output in outputs for leaf in flat(output)]
    return [] if outputs is None else [outputs]


def compare(ours, theirs, inputs, run_ours=None, run_theirs=None, train=False):
    """Outputs and input gradients under the same random cotangents; 1e-11 forward, 1e-9 back."""
    ours.train(train), (theirs.train() if train else theirs.eval())
    xs = [torch.from_numpy(x).requires_grad_(x.dtype.kind == "f") for x in inputs]
    ys = [paddle.to_tensor(x, stop_gradient=x.dtype.kind != "f") for x in inputs]
    expected = flat((run_ours or ours)(*xs))
    got = flat((run_theirs or theirs)(*ys))
    assert len(expected) == len(got)
    loss, their_loss = 0, 0
    for i, (a, b) in enumerate(zip(expected, got, strict=True)):
        assert tuple(a.shape) == tuple(b.shape)
        assert close(a.detach().numpy(), b.numpy(), 1e-11)
        weight = image(*a.shape, seed=9 + i)
        loss = loss + (a * torch.from_numpy(weight)).sum()
        their_loss = their_loss + (b * paddle.to_tensor(weight)).sum()
    loss.backward()
    their_loss.backward()
    for x, y in zip(xs, ys, strict=True):
        if x.requires_grad:
            assert close(x.grad.numpy(), y.grad.numpy(), 1e-9)
    compare_gradients(ours, theirs)


def compare_gradients(ours, theirs):
    """Gradients of parameters: torch's, moved as the weights are, are what Paddle has."""
    gradients = arrays_of(ours)
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None
        gradients[name] = parameter.grad.numpy()
    expected = convert_state(gradients, theirs).state
    checked = 0
    for name, parameter in theirs.named_parameters():
        if not parameter.stop_gradient and parameter.grad is not None:
            assert close(expected[name], parameter.grad.numpy(), 1e-9), name
            checked += 1
    assert checked


def close(expected, got, allowed):
    # The floor: the gradient of a key's bias is zero but for rounding.
    scale = max(np.abs(expected).max(initial=0.0), 1e-5)
    return np.abs(expected - got).max(initial=0.0) / scale <= allowed


EPS = float(np.float32(1e-5))  # Paddle's normalisations hold it in float32
CASES = {
    "Conv1D": (tnn.Conv1d(4, 6, 3, groups=2), lambda: pnn.Conv1D(4, 6, 3, groups=2), (2, 4, 9)),
    "Conv2D": (tnn.Conv2d(4, 6, 3, groups=2), lambda: pnn.Conv2D(4, 6, 3, groups=2), (2, 4, 7, 8)),
    "Conv3D": (tnn.Conv3d(2, 4, 3), lambda: pnn.Conv3D(2, 4, 3), (1, 2, 5, 5, 5)),
    "Conv1DTranspose": (
        tnn.ConvTranspose1d(4, 6, 3, stride=2, groups=2),
        lambda: pnn.Conv1DTranspose(4, 6, 3, stride=2, groups=2),
        (2, 4, 5),
    ),
    "Conv2DTranspose": (
        tnn.ConvTranspose2d(4, 4, 3, stride=2, groups=2),
        lambda: pnn.Conv2DTranspose(4, 4, 3, stride=2, groups=2),
        (2, 4, 5, 4),
    ),
    "Conv3DTranspose": (
        tnn.ConvTranspose3d(2, 2, 2, groups=2),
        lambda: pnn.Conv3DTranspose(2, 2, 2, groups=2),
        (1, 2, 3, 3, 3),
    ),
    "BatchNorm1D": (tnn.BatchNorm1d(4, EPS), lambda: pnn.BatchNorm1D(4), (3, 4)),
    "BatchNorm2D": (tnn.BatchNorm2d(4, EPS), lambda: pnn.BatchNorm2D(4), (3, 4, 2, 2)),
    "BatchNorm3D": (tnn.BatchNorm3d(4, EPS), lambda: pnn.BatchNorm3D(4), (3, 4, 2, 2, 2)),
    "LayerNorm": (tnn.LayerNorm(5, EPS), lambda: pnn.LayerNorm(5), (2, 3, 5)),
    "LayerNorm of two dimensions": (
        tnn.LayerNorm((4, 5), EPS),
        lambda: pnn.LayerNorm([4, 5]),
        (2, 3, 4, 5),
    ),
    "GroupNorm": (tnn.GroupNorm(2, 4, EPS), lambda: pnn.GroupNorm(2, 4), (2, 4, 3, 3)),
    "InstanceNorm1D": (
        tnn.InstanceNorm1d(4, EPS, affine=True),
        lambda: pnn.InstanceNorm1D(4),
        (2, 4, 5),
    ),
    "InstanceNorm2D": (
        tnn.InstanceNorm2d(4, EPS, affine=True),
        lambda: pnn.InstanceNorm2D(4),
        (2, 4, 3, 3),
    ),
    "InstanceNorm3D": (
        tnn.InstanceNorm3d(4, EPS, affine=True),
        lambda: pnn.InstanceNorm3D(4),
        (2, 4, 3, 3, 3),
    ),
    "Linear": (tnn.Linear(4, 4), lambda: pnn.Linear(4, 4), (3, 4)),
    "PReLU": (tnn.PReLU(4), lambda: pnn.PReLU(4), (2, 4, 3)),
    "Bilinear": (tnn.Bilinear(3, 4, 5), lambda: pnn.Bilinear(3, 4, 5), (2, 3), (2, 4)),
    "weight norm, Conv": (
        tnn.utils.weight_norm(tnn.Conv2d(3, 4, 3)),
        lambda: pnn.utils.weight_norm(pnn.Conv2D(3, 4, 3)),
        (1, 3, 4, 4),
    ),
    "weight norm, parametrisation, square Linear": (
        parametrizations.weight_norm(tnn.Linear(4, 4)),
        lambda: pnn.utils.weight_norm(pnn.Linear(4, 4), dim=1),
        (3, 4),
    ),
    "weight norm over all": (
        tnn.utils.weight_norm(tnn.Linear(4, 3), dim=None),
        lambda: pnn.utils.weight_norm(pnn.Linear(4, 3), dim=None),
        (3, 4),
    ),
    "spectral norm, square Linear": (
        tnn.utils.spectral_norm(tnn.Linear(4, 4)),
        lambda: pnn.utils.spectral_norm(pnn.Linear(4, 4)),
        (3, 4),
    ),
    "spectral norm, parametrisation": (
        parametrizations.spectral_norm(tnn.Conv2d(3, 4, 3)),
        lambda: pnn.utils.spectral_norm(pnn.Conv2D(3, 4, 3)),
        (1, 3, 4, 4),
    ),
    "spectral norm, ConvTranspose": (
        tnn.utils.spectral_norm(tnn.ConvTranspose2d(3, 4, 3)),
        lambda: pnn.utils.spectral_norm(pnn.Conv2DTranspose(3, 4, 3)),
        (1, 3, 4, 4),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_are_equal(case):
    ours, make, *shapes = CASES[case]
    theirs = make()
    filled(ours, theirs)
    compare(ours, theirs, [image(*shape) for shape in shapes])


def test_embedding():
    ours, theirs = tnn.Embedding(5, 5), pnn.Embedding(5, 5)
    filled(ours, theirs)
    compare(ours, theirs, [np.array([[0, 4, 2]])])


def test_paddle_linear_in_torchs_layout():
    compat = pytest.importorskip("paddle.compat", reason="Paddle 3 only")
    if not hasattr(compat, "nn"):
        pytest.skip("this Paddle has no paddle.compat.nn")
    ours, theirs = tnn.Linear(4, 4), compat.nn.Linear(4, 4)
    filled(ours, theirs)
    compare(ours, theirs, [image(3, 4)])


def test_sync_batch_norm_runs_as_batch_norm():
    """It has no CPU kernel: its converted state is run by a plain one."""
    ours = tnn.BatchNorm2d(4, EPS)
    sync, plain = pnn.SyncBatchNorm(4), pnn.BatchNorm2D(4)
    made = filled(ours, sync)
    assert plain.set_state_dict(made.state) == ([], [])
    compare(ours, plain, [image(2, 4, 3, 3)])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("both", [False, True], ids=["forward", "both directions"])
def test_recurrent_layers(kind, both):
    ours = getattr(tnn, kind)(3, 4, num_layers=2, batch_first=True, bidirectional=both)
    make = pnn.SimpleRNN if kind == "RNN" else getattr(pnn, kind)
    theirs = make(3, 4, num_layers=2, direction="bidirect" if both else "forward")
    made = filled(ours, theirs)
    assert len(made.state) == 2 * len(ours.state_dict())  # Paddle has two names for each
    compare(ours, theirs, [image(2, 5, 3)], lambda x: ours(x)[0], lambda x: theirs(x)[0], True)


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "RNNCell"])
def test_cells(kind):
    ours = getattr(tnn, kind)(3, 4)
    theirs = pnn.SimpleRNNCell(3, 4) if kind == "RNNCell" else getattr(pnn, kind)(3, 4)
    filled(ours, theirs)

    def first(out):
        return out[0] if isinstance(out, tuple) else out

    compare(ours, theirs, [image(2, 3)], lambda x: first(ours(x)), lambda x: theirs(x)[0])


def test_lstm_with_projection():
    if int(paddle.__version__.split(".")[0]) < 3:
        pytest.skip("an LSTM with a projection came with Paddle 3")
    ours = tnn.LSTM(3, 4, batch_first=True, proj_size=4 - 2)
    theirs = pnn.LSTM(3, 4, proj_size=2)
    filled(ours, theirs)
    compare(ours, theirs, [image(2, 5, 3)], lambda x: ours(x)[0], lambda x: theirs(x)[0], True)


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "separate"])
def test_attention(packed):
    sizes = {} if packed else {"kdim": 3, "vdim": 5}
    ours = tnn.MultiheadAttention(4, 2, batch_first=True, **sizes)
    theirs = pnn.MultiHeadAttention(4, 2, **sizes)
    made = filled(ours, theirs)
    assert made.account.totals["split"] == (2 if packed else 1)
    inputs = [image(2, 3, 4), image(2, 3, sizes.get("kdim", 4)), image(2, 3, sizes.get("vdim", 4))]
    compare(ours, theirs, inputs, lambda q, k, v: ours(q, k, v, need_weights=False)[0])


def test_packed_projections_must_all_be_taken():
    arrays = arrays_of(tnn.MultiheadAttention(4, 2).double())
    with pytest.raises(ConversionError, match=r"in_proj_bias"):
        convert_state(arrays, pnn.MultiHeadAttention(4, 2, bias_attr=False))
    arrays["in_proj_weight"] = arrays["in_proj_weight"][:-1]
    with pytest.raises(ConversionError, match="has no 3 pieces"):
        convert_state(arrays, pnn.MultiHeadAttention(4, 2))


def test_transformer_layers():
    options = {"dropout": 0.0, "batch_first": True, "layer_norm_eps": EPS}
    encoder = tnn.TransformerEncoder(
        tnn.TransformerEncoderLayer(4, 2, 8, **options), 2, tnn.LayerNorm(4, EPS)
    )
    theirs = pnn.TransformerEncoder(
        pnn.TransformerEncoderLayer(4, 2, 8, dropout=0.0), 2, pnn.LayerNorm(4)
    )
    filled(encoder, theirs)
    compare(encoder, theirs, [image(2, 3, 4)], train=True)
    decoder = tnn.TransformerDecoderLayer(4, 2, 8, **options)
    theirs = pnn.TransformerDecoderLayer(4, 2, 8, dropout=0.0)
    made = filled(decoder, theirs)
    assert {r.to for r in made.account.source_tensors} >= {"cross_attn.out_proj.bias"}
    compare(decoder, theirs, [image(2, 3, 4), image(2, 5, 4)], train=True)


def test_bare_parameters_and_buffers():
    class Ours(tnn.Module):
        def __init__(self):
            super().__init__()
            self.scale = tnn.Parameter(torch.ones(3, 3))
            self.register_buffer("shift", torch.ones(3))
            self.register_buffer("index", torch.tensor([2, 0, 1]))

        def forward(self, x):
            return (x @ self.scale + self.shift)[:, self.index]

    class Theirs(pnn.Layer):
        def __init__(self):
            super().__init__()
            self.scale = self.create_parameter([3, 3])
            self.register_buffer("shift", paddle.ones([3]))
            self.register_buffer("index", paddle.to_tensor([0, 0, 0]))

        def forward(self, x):
            return paddle.index_select(x @ self.scale + self.shift, self.index, axis=1)

    ours, theirs = Ours(), Theirs()
    filled(ours, theirs)
    compare(ours, theirs, [image(2, 3)])


def test_tied_weights_of_paddle_take_one_value():
    class Theirs(pnn.Layer):
        def __init__(self):
            super().__init__()
            self.one = pnn.Embedding(4, 3)
            self.other = pnn.Embedding(4, 3)
            self.other.weight = self.one.weight

    weight = image(4, 3)
    made = convert_state({"one.weight": weight}, Theirs())
    assert np.array_equal(made.state["other.weight"], weight)
    both = {"one.weight": weight, "other.weight": weight.copy()}
    assert list(convert_state(both, Theirs()).state) == ["one.weight", "other.weight"]
    both["other.weight"][0] = 7
    with pytest.raises(ConversionError, match=r"other\.weight and one\.weight"):
        convert_state(both, Theirs())


def test_weight_norm_of_the_other_dimension_is_refused():
    theirs = pnn.utils.weight_norm(pnn.Linear(4, 4), dim=0)  # torch's dim=1
    with pytest.raises(ConversionError, match="weight_g"):
        convert_state(arrays_of(tnn.utils.weight_norm(tnn.Linear(4, 4)).double()), theirs)
