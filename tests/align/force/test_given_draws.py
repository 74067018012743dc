"""Random code in the nets' own forwards: the port gets the numbers that the reference drew."""

import random
import sys
import types

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from paddle.nn import functional as P
from torch import nn as tnn
from torch.nn import functional as T

from align import align_backward, align_forward, align_training, force_trace, record_trace
from align.judge.comparison import UNCHECKED
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference

X = np.random.default_rng(0).standard_normal((4, 6, 5, 3))


class _Reference(tnn.Module):
    """A layer around a function; `inner` is a module that the function may call."""

    def __init__(self, function, inner=None):
        super().__init__()
        self.stem = tnn.Conv2d(6, 6, 1)
        self.function, self.inner = function, inner

    def forward(self, x):
        return self.function(self, self.stem(x))


class _Port(pnn.Layer):
    def __init__(self, function, inner=None):
        super().__init__()
        self.stem = pnn.Conv2D(6, 6, 1)
        self.function, self.inner = function, inner

    def forward(self, x):
        return self.function(self, self.stem(x))


def aligned(theirs, ours, inner=(None, None), align=align_backward, x=X):
    """Align two nets of one convolution whose further code is `theirs` and `ours`."""
    return align(*nets(theirs, ours, inner), [x], train=True)


def nets(theirs, ours, inner=(None, None)):
    reference, port = _Reference(theirs, inner[0]), _Port(ours, inner[1])
    port.stem.weight.set_value(reference.stem.weight.detach().numpy())
    port.stem.bias.set_value(reference.stem.bias.detach().numpy())
    return reference, port


def causes(report):
    return " | ".join(str(d.cause) for d in report.divergences)


def t_dropout(net, x):
    return T.dropout(x, 0.3, net.training) + T.dropout(x * x, 0.3, net.training)


def p_dropout(net, x):
    return P.dropout(x, 0.3, training=net.training) + P.dropout(x * x, 0.3, training=net.training)


# The ways in which DropPath is written: masks, uniform numbers above a rate or below one.
def t_bernoulli(net, x, keep=0.6):
    return x * x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(keep).div_(keep)


def t_floor(net, x, keep=0.6):
    drawn = keep + torch.rand((x.shape[0], 1, 1, 1), dtype=x.dtype)
    return x.div(keep) * drawn.floor_()


def p_bernoulli(net, x, keep=0.6):
    return x / keep * paddle.bernoulli(paddle.full([x.shape[0], 1, 1, 1], keep, x.dtype))


def p_floor(net, x, keep=0.6):
    drawn = keep + paddle.rand([x.shape[0], 1, 1, 1]).astype(x.dtype)
    return x / keep * paddle.floor(drawn)


def p_below(net, x, keep=0.6):
    return x / keep * (paddle.rand([x.shape[0], 1, 1, 1]) < keep).astype(x.dtype)


def p_dropped(net, x, keep=0.6):
    drop = paddle.bernoulli(paddle.full([x.shape[0], 1, 1, 1], 1 - keep, x.dtype))
    return x / keep * (1 - drop)


T_PATHS, P_PATHS = (t_bernoulli, t_floor), (p_bernoulli, p_floor, p_below, p_dropped)


def test_functional_dropout_is_replayed_forward_and_backward():
    report = aligned(t_dropout, p_dropout)
    assert report.exit_code == 0, report.verdict
    assert {call.where for call in report.calls} >= {"grad_output:0", "grad:weight"}


def test_steps_and_the_free_run_draw_what_the_reference_drew():
    def mean(output, label):
        return (output * label).mean()

    def run(ours):
        rng = np.random.default_rng(1)
        batches = [(X * rng.random(), rng.random(X.shape)) for _ in range(3)]
        optimizers = (
            lambda p: torch.optim.SGD(p, lr=0.1),
            lambda p: paddle.optimizer.SGD(0.1, parameters=p),
        )
        return align_training(*nets(t_bernoulli, ours), batches, mean, mean, *optimizers)

    report = run(p_below)
    assert report.exit_code == 0, report.verdict
    errors = report.settings["free_run"]
    assert max(errors) < 1e-9
    assert run(lambda net, x: p_below(net, x, 0.7)).exit_code == 1


def test_functions_and_random_states_come_back():
    pair = nets(t_dropout, p_dropout)
    held = P.dropout, paddle.uniform, paddle.tensor.random.uniform, paddle.Tensor.uniform_
    states = torch.get_rng_state(), paddle.get_rng_state()
    align_forward(*pair, [X], train=True)
    now = P.dropout, paddle.uniform, paddle.tensor.random.uniform, paddle.Tensor.uniform_
    assert all(one is other for one, other in zip(held, now, strict=True))
    assert torch.equal(states[0], torch.get_rng_state())
    drawn = paddle.rand([3]).numpy()
    paddle.set_rng_state(states[1])
    assert np.array_equal(drawn, paddle.rand([3]).numpy())


@pytest.mark.parametrize("ours", P_PATHS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("theirs", T_PATHS, ids=lambda f: f.__name__)
def test_drop_path_is_aligned_however_it_is_written(theirs, ours):
    report = aligned(theirs, ours, align=align_forward)
    assert report.exit_code == 0, report.verdict
    wrong = aligned(theirs, lambda net, x: ours(net, x, keep=0.65), align=align_forward)
    assert wrong.exit_code == 1


FAULTS = {
    "rate": lambda net, x: P.dropout(x, 0.2) + P.dropout(x * x, 0.3),
    "missing": lambda net, x: x + P.dropout(x * x, 0.3),
    "one more": lambda net, x: P.dropout(p_dropout(net, x), 0.3),
    "mode": lambda net, x: P.dropout(x, 0.3, mode="downscale_in_infer") + P.dropout(x * x, 0.3),
    "order": lambda net, x: P.dropout(x * x, 0.3) + P.dropout(x, 0.3),
    "axis": lambda net, x: P.dropout(x, 0.3, axis=[0, 1]) + P.dropout(x * x, 0.3),
    "none": lambda net, x: x + x * x,
}
WORDS = {
    "rate": "dropout keeps a share of 0.8 here, the reference 0.7",
    "missing": "the reference draws dropout [4, 6, 5, 3] here, the port draws nothing more",
    "one more": "the port draws dropout [4, 6, 5, 3] here, the reference draws nothing more",
    "axis": "the port draws dropout [4, 6, 1, 1] here, the reference dropout [4, 6, 5, 3]",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_functional_dropout_are_found(fault):
    report = aligned(t_dropout, FAULTS[fault], align=align_forward)
    assert report.exit_code == 1
    assert {d.layer for d in report.divergences} == {""}
    assert WORDS.get(fault, "") in causes(report)


@pytest.mark.parametrize(
    "ours", [p_dropout, p_below, FAULTS["rate"]], ids=["same", "other", "rate"]
)
def test_stored_trace_gives_the_same_numbers(ours, tmp_path):
    theirs = t_bernoulli if ours is p_below else t_dropout
    reference, port = nets(theirs, ours)
    record_trace(reference, [X], tmp_path / "trace", train=True, backward=True)
    report = force_trace(port, tmp_path / "trace")
    live = align_backward(reference, port, [X], train=True)
    assert report.exit_code == live.exit_code == (ours is FAULTS["rate"])
    places = [[(d.layer, d.where) for d in each.divergences] for each in (report, live)]
    assert places[0] == places[1]
    for stored, found in zip(report.divergences, live.divergences, strict=True):
        assert str(stored.cause or "") in str(found.cause)  # a trace holds no code to look at


def test_random_code_in_eval_mode_of_the_port_only_is_found():
    report = aligned(lambda net, x: x, lambda net, x: P.dropout(x, 0.3), align=align_forward)
    assert report.exit_code == 1
    assert "the port draws dropout" in causes(report)


PAIRS = {
    "channels": (lambda n, x: T.dropout2d(x, 0.4), lambda n, x: P.dropout2d(x, 0.4)),
    "alpha": (lambda n, x: T.alpha_dropout(x, 0.4, True), lambda n, x: P.alpha_dropout(x, 0.4)),
    "uniform": (
        lambda n, x: x * torch.empty_like(x).uniform_(0.5, 2),
        lambda n, x: x * paddle.uniform(x.shape, x.dtype, 0.5, 2.0),
    ),
    "normal": (
        lambda n, x: x + 0.1 * torch.randn_like(x),
        lambda n, x: x + paddle.normal(0.0, 0.1, x.shape),
    ),
    "layer for function": (lambda n, x: T.dropout(x, 0.4), lambda n, x: n.inner(x)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_other_random_functions_are_replayed(name):
    inner = (None, pnn.Dropout(0.4) if name.startswith("layer") else None)
    report = aligned(*PAIRS[name], inner)
    assert report.exit_code == 0, report.verdict


def test_attention_dropout_inside_multi_head_attention_is_replayed():
    class Reference(tnn.Module):
        def __init__(self):
            super().__init__()
            self.attention = tnn.MultiheadAttention(6, 2, dropout=0.4, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, x)[0]

    class Port(pnn.Layer):
        def __init__(self):
            super().__init__()
            self.heads = pnn.MultiHeadAttention(6, 2, dropout=0.4)

        def forward(self, x):
            return self.heads(x, x, x)

    reference, port = Reference(), Port()
    theirs = reference.attention
    weights = theirs.in_proj_weight.detach().numpy(), theirs.in_proj_bias.detach().numpy()
    own = port.heads
    for index, layer in enumerate((own.q_proj, own.k_proj, own.v_proj)):
        layer.weight.set_value(np.split(weights[0], 3)[index].T)
        layer.bias.set_value(np.split(weights[1], 3)[index])
    own.out_proj.weight.set_value(theirs.out_proj.weight.detach().numpy().T)
    own.out_proj.bias.set_value(theirs.out_proj.bias.detach().numpy())
    report = align_forward(reference, port, [X[:, :, :, 0].transpose(0, 2, 1)], train=True)
    assert report.exit_code == 0, report.verdict
    port.heads.dropout = 0.3
    wrong = align_forward(reference, port, [X[:, :, :, 0].transpose(0, 2, 1)], train=True)
    assert wrong.exit_code == 1


def test_function_imported_by_name_is_replayed_too():
    names = types.ModuleType("a_port_of_somebody")
    source = "from paddle.nn.functional import dropout\ndef own(net, x): return dropout(x, 0.3)"
    exec(source, vars(names))
    sys.modules[names.__name__] = names
    try:
        held = names.dropout
        report = aligned(lambda net, x: T.dropout(x, 0.3), names.own, align=align_forward)
    finally:
        del sys.modules[names.__name__]
    assert report.exit_code == 0, report.verdict
    assert names.dropout is held


def test_function_that_the_port_holds_itself_could_not_be_checked():
    held = [P.dropout]
    report = aligned(
        lambda net, x: T.dropout(x, 0.3), lambda net, x: held[0](x, 0.3), align=align_forward
    )
    assert report.exit_code == 2
    assert "the port's are out of reach" in report.verdict


def test_random_function_that_is_not_replayed_is_named():
    report = aligned(
        lambda net, x: x * torch.randint(0, 2, x.shape),
        lambda net, x: x * paddle.randint(0, 2, x.shape).astype(x.dtype),
    )
    assert report.exit_code == 2
    assert "randint" in report.verdict
    own = [call for call in report.calls if call.layer == "" and call.where.startswith("grad_out")]
    assert own
    assert all(call.verdict == UNCHECKED for call in own)


def test_dropout_inside_a_recurrent_layer_could_not_be_checked_gradients_included():
    class Reference(tnn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = tnn.LSTM(4, 3, 2, dropout=0.4, batch_first=True)

        def forward(self, x):
            return self.lstm(x)[0]

    class Port(pnn.Layer):
        def __init__(self):
            super().__init__()
            self.lstm = pnn.LSTM(4, 3, 2, dropout=0.4)

        def forward(self, x):
            return self.lstm(x)[0]

    pair = Reference(), Port()
    fill_port(LiveReference(pair[0]), pair[1])
    x = X[:, :4, :, 0].transpose(0, 2, 1)
    assert align_backward(*pair, [x], train=True).exit_code == 2
    assert align_forward(*pair, [x], train=False).exit_code == 0


def test_numbers_that_python_draws_could_not_be_checked():
    def sometimes(net, x):
        return x * 2 if random.random() < 0.5 else x

    report = aligned(sometimes, sometimes, align=align_forward)
    assert report.exit_code == 2
    assert "random numbers drawn by random here" in report.verdict


def test_random_layers_inside_matched_modules_keep_their_order():
    """Masks belong to the innermost matched module, whatever is skipped in other runs."""

    class T_DropPath(tnn.Module):
        def forward(self, x):
            return t_bernoulli(self, x) if self.training else x

    class P_DropPath(pnn.Layer):
        def forward(self, x):
            return p_floor(self, x) if self.training else x

    def block(net, x):
        return x + net.inner[1](net.inner[0](x) * 2) + net.inner[1](x)

    inner = (
        tnn.ModuleList([tnn.Dropout(0.3), T_DropPath()]),
        pnn.LayerList([pnn.Dropout(0.3), P_DropPath()]),
    )
    report = aligned(block, block, inner)
    assert report.exit_code == 0, report.verdict
