"""A table that one side holds in float32 and the other computes in forward is no finding."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_backward, align_forward
from align.rungs.force_trace import force_trace
from align.rungs.record_trace import record_trace

X = np.random.default_rng(0).standard_normal((2, 6, 16))
BASE = 10000.0


def torch_table(count, base=BASE):
    """As the Transformer's: stacked of halves."""
    step = torch.exp(torch.arange(0, 16, 2).float() * (-np.log(base) / 16))
    angles = torch.arange(count).float()[:, None] * step
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def torch_written(count, base=BASE):
    """As most code has it: written into zeros."""
    table = torch.zeros(1, count, 16)
    step = 1.0 / (base ** (torch.arange(0, 16, 2, dtype=torch.float32) / 16))
    table[0, :, 0::2] = torch.sin(torch.arange(count)[:, None] * step)
    table[0, :, 1::2] = torch.cos(torch.arange(count)[:, None] * step)
    return table


def paddle_table(count, base=BASE):
    step = paddle.exp(paddle.arange(0, 16, 2).astype("float32") * float(-np.log(base) / 16))
    angles = paddle.arange(count).astype("float32").unsqueeze(1) * step
    return paddle.stack([angles.sin(), angles.cos()], -1).flatten(1)


def paddle_written(count, base=BASE):
    table = paddle.zeros([1, count, 16])
    step = 1.0 / (base ** (paddle.arange(0, 16, 2).astype("float32") / 16))
    angles = paddle.outer(paddle.arange(count).astype("float32"), step)
    table[0, :, 0::2] = paddle.sin(angles)
    table[0, :, 1::2] = paddle.cos(angles)
    return table


class Reference(torch.nn.Module):
    def __init__(self, held=None, computed=None):
        super().__init__()
        self.fc = torch.nn.Linear(16, 16)
        if held is not None:
            self.register_buffer("table", held, persistent=False)
        self.computed = computed

    def forward(self, x):
        table = self.table if self.computed is None else self.computed(x.shape[1])
        return self.fc(x + table.reshape(-1, 16)[: x.shape[1]])


class Port(paddle.nn.Layer):
    def __init__(self, reference, held=None, computed=None):
        super().__init__()
        self.fc = paddle.nn.Linear(16, 16)
        if held is not None:
            self.register_buffer("table", held, persistable=False)
        self.computed = computed
        self.fc.weight.set_value(reference.fc.weight.detach().numpy().T)
        self.fc.bias.set_value(reference.fc.bias.detach().numpy())

    def forward(self, x):
        table = self.table if self.computed is None else self.computed(x.shape[1])
        return self.fc(x + table.reshape([-1, 16])[: x.shape[1]])


def pairs(base):
    """Yield (reference, port) that hold on one side what the other computes of `base`."""
    for theirs in (torch_table, torch_written):
        for ours in (paddle_table, paddle_written):
            reference = Reference(held=theirs(50))
            yield reference, Port(reference, computed=lambda n, own=ours: own(n, base))
            reference = Reference(computed=theirs)
            yield reference, Port(reference, held=ours(50, base))


def test_the_last_bits_are_said_and_allowed():
    for reference, port in pairs(BASE):
        for align in (align_forward, align_backward):
            report = align(reference, port, [X])
            assert report.exit_code == 0, [str(each) for each in report.divergences]
            assert any(note.has("tables_given") and "table" in note for note in report.notes)
            assert all(call.floor < 1e-11 for call in report.calls)
    report = align_forward(reference, port, [X], train=True)
    assert report.exit_code == 0


def test_a_wrong_table_is_found():
    for reference, port in pairs(BASE * 1.001):
        for align in (align_forward, align_backward):
            report = align(reference, port, [X])
            assert report.exit_code == 1
            assert {found.layer for found in report.divergences} == {""}
            assert not any(note.has("tables_given") for note in report.notes)


def test_another_fault_beside_it_is_found():
    reference = Reference(held=torch_table(50))
    port = Port(reference, computed=lambda n: paddle_table(n) * (1 + 1e-5))
    assert align_forward(reference, port, [X]).exit_code == 1
    port = Port(reference, computed=paddle_table)
    port.fc.bias.set_value(port.fc.bias.numpy() + np.float32(1e-6))
    (found,) = align_forward(reference, port, [X]).divergences
    assert found.layer == "fc"


def test_against_a_recording(tmp_path):
    reference = Reference(held=torch_table(50))
    record_trace(reference, [X], tmp_path / "trace")
    for base, code in ((BASE, 0), (BASE * 1.001, 1)):
        port = Port(reference, computed=lambda n, base=base: paddle_written(n, base))
        assert force_trace(port, tmp_path / "trace").exit_code == code


class Rotary(torch.nn.Module):
    """Holds frequencies, computes the table."""

    def __init__(self):
        super().__init__()
        step = 1.0 / (BASE ** (torch.arange(0, 16, 2).float() / 16))
        self.register_buffer("step", step, persistent=False)
        self.fc = torch.nn.Linear(16, 16)

    def forward(self, x):
        angles = torch.einsum("i,j->ij", torch.arange(x.shape[1]).type_as(self.step), self.step)
        angles = torch.cat((angles, angles), dim=-1)
        return self.fc(x * angles.cos()[None] + x * angles.sin()[None])


class CachedRotary(paddle.nn.Layer):
    def __init__(self, reference, base=BASE):
        super().__init__()
        step = 1.0 / (base ** (paddle.arange(0, 16, 2).astype("float32") / 16))
        angles = paddle.outer(paddle.arange(64).astype("float32"), step)
        angles = paddle.concat([angles, angles], axis=-1)
        self.register_buffer("cos", angles.cos(), persistable=False)
        self.sin = angles.sin()
        self.fc = paddle.nn.Linear(16, 16)
        self.fc.weight.set_value(reference.fc.weight.detach().numpy().T)
        self.fc.bias.set_value(reference.fc.bias.detach().numpy())

    def forward(self, x):
        return self.fc(x * self.cos[: x.shape[1]] + x * self.sin[: x.shape[1]])


def test_tables_computed_of_a_table_that_is_held():
    reference = Rotary()
    for align in (align_forward, align_backward):
        report = align(reference, CachedRotary(reference), [X])
        assert report.exit_code == 0, [str(each) for each in report.divergences]
        assert align(reference, CachedRotary(reference, BASE * 1.001), [X]).exit_code == 1


class Frozen(torch.nn.Module):
    """Holds the scale of a frozen normalisation, which is no table of constants."""

    def __init__(self):
        super().__init__()
        self.register_buffer("variance", torch.linspace(0.5, 1.5, 16))
        scale = 1 / torch.sqrt(self.variance + 1e-6)
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, x):
        return x * self.scale


class FrozenPort(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.register_buffer("variance", paddle.linspace(0.5, 1.5, 16))

    def forward(self, x):
        return x / paddle.sqrt(self.variance + 1.5e-6)


def test_what_code_makes_of_learnt_statistics_is_judged():
    assert align_forward(Frozen(), FrozenPort(), [X]).exit_code == 1
