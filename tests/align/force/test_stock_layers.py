"""Stock layers as Paddle's users port them: judged, and no false alarm."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from paddle.distributed.fleet.utils import recompute
from torch import nn as tnn
from torch.utils import checkpoint

from align import align_backward, align_forward, align_step, align_weights
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference


def noise(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def filled(reference, port):
    """Return nets made by the two classes, with the same weights."""
    torch.manual_seed(0)
    nets = reference(), port()
    fill_port(LiveReference(nets[0]), nets[1])
    return nets


def step(nets, inputs):
    return align_step(
        *nets,
        [*inputs, np.array(2.0)],
        lambda out, label: (out * out).mean() * label,
        lambda out, label: (out * out).mean() * label,
        lambda parameters: torch.optim.Adam(parameters, lr=1e-2),
        lambda parameters: paddle.optimizer.Adam(1e-2, parameters=parameters),
    )


class TorchTagger(tnn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = tnn.LSTM(4, 3, num_layers=2, bidirectional=True, batch_first=True)
        self.gain = tnn.Parameter(torch.tensor(0.7))

    def forward(self, x):
        return self.lstm(x)[0] * self.gain


class PaddleTagger(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.lstm = pnn.LSTM(4, 3, num_layers=2, direction="bidirect")
        self.gain = self.create_parameter([])

    def forward(self, x):
        return self.lstm(x)[0] * self.gain


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
def test_recurrent_layer_and_a_parameter_without_dimensions(train):
    nets = filled(TorchTagger, PaddleTagger)
    report = align_backward(*nets, [noise(2, 5, 4)], train=train)
    assert report.exit_code == 0, report.verdict
    assert all(layer.training for layer in nets[1].sublayers(include_self=True))


@pytest.mark.parametrize("kind", [("LSTM", "LSTM"), ("GRU", "GRU"), ("RNN", "SimpleRNN")])
def test_recurrent_layer_with_dropout_has_gradients_in_eval_mode(kind):
    """Paddle's own kernel raises there: "Tensor holds no memory"."""
    settings = {"num_layers": 2, "dropout": 0.5}
    nets = filled(
        lambda: getattr(tnn, kind[0])(4, 3, batch_first=True, **settings),
        lambda: getattr(pnn, kind[1])(4, 3, **settings),
    )
    report = align_backward(*nets, [noise(2, 5, 4)], train=False)
    assert report.aligned, report.verdict
    assert (nets[1].dropout, nets[1].training) == (0.5, True)
    nets[1].dropout = 0.1
    assert [d.where for d in align_weights(*nets).divergences] == ["attribute:rate"]


def test_parameter_of_two_names_gets_its_gradient_once():
    nets = filled(TorchTagger, PaddleTagger)
    report = step(nets, [noise(2, 5, 4)])
    assert report.exit_code == 0, report.verdict


class TorchCheckpointed(tnn.Module):
    way: bool | None = None

    def __init__(self):
        super().__init__()
        self.first, self.second = tnn.Linear(4, 4), tnn.Linear(4, 4)

    def block(self, x):
        return self.second(x).tanh()

    def forward(self, x):
        x = self.first(x)
        if self.way is None:
            return self.block(x)
        return checkpoint.checkpoint(self.block, x, use_reentrant=self.way)


class PaddleCheckpointed(pnn.Layer):
    way: bool | None = None

    def __init__(self):
        super().__init__()
        self.first, self.second = pnn.Linear(4, 4), pnn.Linear(4, 4)

    def block(self, x):
        return self.second(x).tanh()

    def forward(self, x):
        x = self.first(x)
        if self.way is None:
            return self.block(x)
        return recompute(self.block, x, use_reentrant=self.way, preserve_rng_state=False)


@pytest.mark.parametrize(
    "ways", [(True, True), (False, False), (False, None), (None, True), (None, False)]
)
def test_checkpointed_code_is_judged_once(ways):
    def home():
        return [vars(checkpoint)[name] for name in sorted(vars(checkpoint)) if "heckpoint" in name]

    nets = filled(TorchCheckpointed, PaddleCheckpointed)
    for net, way in zip(nets, ways, strict=True):
        net.way = way
    before = home()
    report = align_backward(*nets, [noise(3, 4)])
    assert report.exit_code == 0, report.verdict
    assert sum(call.call == "second#0" for call in report.calls) == 2
    assert all(one is other for one, other in zip(before, home(), strict=True))
    x = paddle.to_tensor(noise(3, 4).astype("float32"))
    x.stop_gradient = False
    nets[1](x).sum().backward()
    assert x.grad is not None
    nets[1].second.weight.set_value(nets[1].second.weight * 2)
    report = align_forward(*nets, [noise(3, 4)])
    assert {divergence.layer for divergence in report.divergences} == {"second"}


class TorchAttention(tnn.Module):
    batch_first = True

    def __init__(self):
        super().__init__()
        self.attend = tnn.MultiheadAttention(8, 2, batch_first=self.batch_first)
        self.encoder = tnn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
        self.query = tnn.Parameter(torch.randn(1, 4, 8))

    def forward(self, x, valid):
        x = self.encoder(x, src_key_padding_mask=~valid)
        streams = self.query.expand(len(x), -1, -1), x, x
        if not self.batch_first:
            streams = tuple(stream.transpose(0, 1) for stream in streams)
        hidden = torch.triu(torch.ones(4, x.shape[1], dtype=torch.bool), 2)
        y, _ = self.attend(*streams, key_padding_mask=~valid, attn_mask=hidden)
        return y if self.batch_first else y.transpose(0, 1)


class TorchLengthFirst(TorchAttention):
    batch_first = False


class PaddleAttention(pnn.Layer):
    swaps = inverts = lets_all_through = False

    def __init__(self):
        super().__init__()
        self.attend = pnn.MultiHeadAttention(8, 2)
        self.encoder = pnn.TransformerEncoderLayer(8, 2, 12, dropout=0.0)
        self.query = self.create_parameter([1, 4, 8])

    def forward(self, x, valid):
        kept = valid.unsqueeze(1).unsqueeze(1)
        if self.lets_all_through:
            x = self.encoder(x)
            return self.attend(self.query.expand([x.shape[0], -1, -1]), x, x)
        x = self.encoder(x, paddle.logical_not(kept) if self.inverts else kept)
        shown = paddle.tril(paddle.ones([4, x.shape[1]]), 1).astype("bool")
        query = self.query.expand([x.shape[0], -1, -1])
        mask = paddle.logical_and(kept, shown.unsqueeze(0).unsqueeze(0))
        return self.attend(query, x, query[:, :1].tile([1, 5, 1]) if self.swaps else x, mask)


def attention_inputs():
    valid = np.ones((3, 5), bool)
    valid[1, 3:] = False
    return noise(3, 5, 8), valid


def inverts_the_mask(port):
    port.inverts = True


def forgets_the_masks(port):
    port.lets_all_through = True


def forgets_the_value(port):
    forward = port.attend.forward
    port.attend.forward = lambda query, key, value, mask: forward(query, key, attn_mask=mask)


def swaps_a_stream(port):
    port.swaps = True


def another_count_of_heads(port):
    port.attend.num_heads, port.attend.head_dim = 4, 2


def attention_doubled(port):
    forward = port.attend.forward
    port.attend.forward = lambda *args, **kwargs: forward(*args, **kwargs) * 2


def projection_scaled(port):
    port.attend.out_proj.weight.set_value(port.attend.out_proj.weight * 1.0001)


def projection_frozen(port):
    port.attend.out_proj.weight.stop_gradient = True


@pytest.mark.parametrize("reference", [TorchAttention, TorchLengthFirst])
@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
def test_stock_attention_is_judged_with_its_masks(reference, train):
    nets = filled(reference, PaddleAttention)
    for report in (
        align_forward(*nets, attention_inputs(), train=train),
        align_backward(*nets, attention_inputs(), train=train),
    ):
        assert report.exit_code == 0, report.verdict
        judged = {call.layer for call in report.calls}
        assert {"attend", "encoder.self_attn", "encoder.linear1"} <= judged


@pytest.mark.parametrize(
    ("change", "blamed"),
    [
        (inverts_the_mask, {""}),
        (forgets_the_masks, {""}),
        (forgets_the_value, {"attend"}),
        (swaps_a_stream, {""}),
        (another_count_of_heads, {"attend"}),
        (attention_doubled, {"attend"}),
        (projection_scaled, {"attend", "attend.out_proj"}),
    ],
)
def test_fault_of_stock_attention_is_blamed_on_its_layer(change, blamed):
    nets = filled(TorchAttention, PaddleAttention)
    change(nets[1])
    report = align_forward(*nets, attention_inputs())
    assert {divergence.layer for divergence in report.divergences} == blamed


def test_frozen_projection_of_stock_attention_is_found():
    nets = filled(TorchAttention, PaddleAttention)
    projection_frozen(nets[1])
    report = align_backward(*nets, attention_inputs())
    found = {(divergence.layer, divergence.where) for divergence in report.divergences}
    assert found == {("attend.out_proj", "grad:weight")}


class TorchPooling(tnn.Module):
    """Softmax takes away what the bias adds: its gradient is rounding alone."""

    def __init__(self):
        super().__init__()
        self.score = tnn.Linear(4, 1)

    def forward(self, x):
        return (torch.softmax(self.score(x), 1) * x).sum(1)


class PaddlePooling(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.score = pnn.Linear(4, 1)

    def forward(self, x):
        return (pnn.functional.softmax(self.score(x), 1) * x).sum(1)


def test_a_scalar_gradient_of_rounding_alone_is_noise():
    for seed in range(12):
        nets = filled(TorchPooling, PaddlePooling)
        report = align_backward(*nets, [np.random.default_rng(seed).standard_normal((3, 9, 4))])
        assert report.exit_code == 0, report.verdict
        assert {call.where for call in report.noise} == {"grad:bias"}


class TorchNormed(tnn.Module):
    def __init__(self):
        super().__init__()
        self.weight = tnn.Parameter(torch.rand(4))

    def forward(self, x):
        return tnn.functional.layer_norm(x, (4,), self.weight, None, 1e-3)


class PaddleNormed(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.weight = self.create_parameter([4])

    def forward(self, x):
        return pnn.functional.layer_norm(x, [4], self.weight, None, 1e-3)


def test_scale_of_a_functional_normalisation_has_the_error_of_its_epsilon():
    nets = filled(TorchNormed, PaddleNormed)
    report = align_backward(*nets, [noise(2, 3, 4) * 0.1])
    assert report.exit_code == 0, report.verdict


def test_a_last_bit_is_no_write_into_an_input():
    from align.record.recording_torch import _same_values

    values = [noise(3, 4)]
    assert _same_values(values, [values[0] * (1 + 1e-15)])
    assert not _same_values(values, [values[0] + 1e-6])
    assert not _same_values([np.array([np.nan, 1.0])], [np.array([0.0, 1.0])])


class TorchFunctions(tnn.Module):
    def forward(self, x):
        y = tnn.functional.mish(torch.roll(x, 2, 1))
        return y / torch.norm(x, p=2, dim=(1, 2), keepdim=True)


class PaddleFunctions(pnn.Layer):
    act, shifts, p = "mish", 2, "fro"

    def forward(self, x):
        y = getattr(pnn.functional, self.act)(paddle.roll(x, self.shifts, 1))
        return y / paddle.norm(x, p=self.p, axis=[1, 2], keepdim=True)


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({}, None),
        ({"act": "softplus"}, "softplus stands for mish"),
        ({"shifts": -2}, "with shifts=2"),
        pytest.param(
            {"p": 2},
            "with p='fro'",
            marks=pytest.mark.skipif(
                paddle.__version__ < "3", reason="before Paddle 3 both are the same norm"
            ),
        ),
    ],
)
def test_setting_of_a_function_is_named(settings, cause):
    nets = TorchFunctions(), PaddleFunctions()
    vars(nets[1]).update(settings)
    report = align_forward(*nets, [noise(2, 3, 5)])
    assert [cause in divergence.cause for divergence in report.divergences] == [True] * bool(cause)


class SecondFirst(tnn.Module):
    """Stock layers that take the length first, with dropout."""

    def __init__(self):
        super().__init__()
        self.into = tnn.Linear(8, 8)
        self.encoder = tnn.TransformerEncoder(
            tnn.TransformerEncoderLayer(8, 2, 16), 1, enable_nested_tensor=False
        )
        self.decoder = tnn.TransformerDecoderLayer(8, 2, 16)

    def forward(self, x):
        y = self.into(x)
        return self.decoder(y[:3], self.encoder(y))


class BatchFirst(pnn.Layer):
    def __init__(self, turns=True):
        super().__init__()
        self.turns = turns
        self.into = pnn.Linear(8, 8)
        self.encoder = pnn.TransformerEncoder(pnn.TransformerEncoderLayer(8, 2, 16), 1)
        self.decoder = pnn.TransformerDecoderLayer(8, 2, 16)

    def forward(self, x):
        y = self.into(x)
        if not self.turns:
            return self.decoder(y[:3], self.encoder(y))
        y = y.transpose([1, 0, 2])
        return self.decoder(y[:, :3], self.encoder(y)).transpose([1, 0, 2])


@pytest.mark.parametrize("align", [align_forward, align_backward])
@pytest.mark.parametrize("train", [False, True])
def test_layers_inside_of_stock_layers_that_take_the_length_first(align, train):
    report = align(*filled(SecondFirst, BatchFirst), [noise(5, 2, 8)], train=train)
    assert report.aligned, [str(d) for d in report.divergences]
    assert {"encoder.layers.0.norm1", "decoder.linear2"} <= {call.layer for call in report.calls}


@pytest.mark.parametrize("length", [5, 4])  # of a batch of 4: shapes tell, or values alone
def test_a_forgotten_transposition_is_told_as_batch_first(length):
    nets = filled(SecondFirst, lambda: BatchFirst(False))
    report = align_forward(*nets, [noise(length, 4, 8)])
    assert {d.layer for d in report.divergences} == {""}
    assert "batch_first=False" in report.divergences[0].cause


class TorchCells(tnn.Module):
    """A reader that runs stock cells in a loop of its own."""

    def __init__(self):
        super().__init__()
        self.gru, self.lstm = tnn.GRUCell(3, 4), tnn.LSTMCell(4, 5)

    def forward(self, x):
        h, state, found = x.new_zeros(len(x), 4), None, []
        for step in range(3):
            h = self.gru(x[:, step], h)
            state = self.lstm(h, state)
            found.append(state[0])
        return torch.stack(found, 1), state[1]


class PaddleCells(pnn.Layer):
    def __init__(self, factor=1.0):
        super().__init__()
        self.gru, self.lstm, self.factor = pnn.GRUCell(3, 4), pnn.LSTMCell(4, 5), factor

    def forward(self, x):
        h, state, found = paddle.zeros([len(x), 4], x.dtype), None, []
        for step in range(3):
            _, h = self.gru(x[:, step], h)
            out, state = self.lstm(h * self.factor, state)
            found.append(out)
        return paddle.stack(found, 1), state[1]


@pytest.mark.parametrize("factor", [1.0, 1.01])
@pytest.mark.parametrize("align", [align_forward, align_backward])
def test_recurrent_cells_return_one_thing_more_in_paddle(align, factor):
    reference, port = TorchCells(), PaddleCells(factor)
    fill_port(LiveReference(reference), port)
    report = align(reference, port, [np.random.default_rng(0).standard_normal((2, 3, 3))])
    assert {call.layer for call in report.divergences} == ({""} if factor != 1 else set())
    assert report.exit_code == (factor != 1), report.verdict


class TorchTable(tnn.Module):
    """Weights that other code than their layer's uses, beside the layer or in its place."""

    def __init__(self):
        super().__init__()
        self.classes, self.query = tnn.Embedding(3, 4), tnn.Linear(4, 4)

    def forward(self, x):
        return self.query(x) @ self.query.weight @ self.classes.weight.T


class PaddleTable(pnn.Layer):
    def __init__(self, factor):
        super().__init__()
        self.classes, self.query = pnn.Embedding(3, 4), pnn.Linear(4, 4)
        self.factor = factor

    def forward(self, x):
        return self.query(x) @ self.query.weight.T @ (self.classes.weight.T * self.factor)


def test_code_that_uses_the_weight_of_a_layer_is_blamed_for_its_gradient():
    reference, port = TorchTable(), PaddleTable(1.5)
    fill_port(LiveReference(reference), port)
    report = align_backward(reference, port, [np.random.default_rng(0).standard_normal((5, 4))])
    assert {call.layer for call in report.divergences} == {""}
    assert {call.where for call in report.divergences} >= {"grad:classes.weight"}
