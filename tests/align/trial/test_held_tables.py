"""Tables that both sides compute in float32 when they are built are no finding, others are."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_backward, align_forward
from align.rungs.force_trace import force_trace
from align.rungs.record_trace import record_trace

X = np.random.default_rng(0).standard_normal((2, 6, 16))


class Positions(torch.nn.Module):
    """A table of sines made in `__init__`, as in the Transformer itself."""

    def __init__(self):
        super().__init__()
        step = torch.exp(torch.arange(0, 16, 2).float() * (-9.210340371976184 / 16))
        angles = torch.arange(50).float()[:, None] * step
        table = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
        self.register_buffer("table", table, persistent=False)
        self.fc = torch.nn.Linear(16, 16)

    def forward(self, x):
        return self.fc(x + self.table[: x.shape[1]])


class Port(paddle.nn.Layer):
    def __init__(self, reference, base=-9.210340371976184, name="table"):
        super().__init__()
        step = paddle.exp(paddle.arange(0, 16, 2).astype("float32") * (base / 16))
        angles = paddle.arange(50).astype("float32").unsqueeze(1) * step
        table = paddle.stack([angles.sin(), angles.cos()], -1).flatten(1)
        self.name = name
        self.register_buffer(name, table, persistable=False)
        self.fc = paddle.nn.Linear(16, 16)
        self.fc.weight.set_value(reference.fc.weight.detach().numpy().T)
        self.fc.bias.set_value(reference.fc.bias.detach().numpy())

    def forward(self, x):
        return self.fc(x + getattr(self, self.name)[: x.shape[1]])


@pytest.fixture
def reference():
    torch.manual_seed(0)
    return Positions()


@pytest.mark.parametrize("name", ["table", "positions"])
def test_the_last_bits_of_a_table_are_said_and_allowed(reference, name):
    port = Port(reference, name=name)
    before = getattr(port, name).numpy()
    reports = [align_forward(reference, port, [X]), align_forward(reference, port, [X], train=True)]
    reports.append(align_backward(reference, port, [X]))
    assert (before != reference.table.numpy()).any()
    for report in reports:
        wrong = [each for each in report.divergences if each.where != "buffer:table"]
        assert not wrong, [str(each) for each in wrong]
        assert any(note.has("tables_held") and name in note for note in report.notes)
        assert all(call.floor < 1e-11 for call in report.calls)
    assert (getattr(port, name).numpy() == before).all()
    assert getattr(port, name).dtype == paddle.float32


def test_a_table_of_another_base_is_found(reference):
    port = Port(reference, base=-9.2104)
    for align in (align_forward, align_backward):
        assert {each.layer for each in align(reference, port, [X]).divergences} == {""}


def test_against_a_recording(reference, tmp_path):
    record_trace(reference, [X], tmp_path / "trace")
    report = force_trace(Port(reference), tmp_path / "trace")
    assert report.exit_code == 0, [str(each) for each in report.divergences]
    assert force_trace(Port(reference, base=-9.2104), tmp_path / "trace").exit_code == 1


def test_code_that_casts_against_a_recording(tmp_path):
    class Soft(torch.nn.Module):
        def forward(self, x):
            return torch.softmax(x * 2, -1, dtype=torch.float32)

    class PaddleSoft(paddle.nn.Layer):
        def __init__(self, dtype):
            super().__init__()
            self.dtype = dtype

        def forward(self, x):
            return paddle.nn.functional.softmax(x * 2, -1, dtype=self.dtype)

    for backward in (False, True):
        folder = tmp_path / f"trace{backward}"
        record_trace(Soft(), [X], folder, backward=backward)
        assert force_trace(PaddleSoft("float32"), folder).exit_code == 0
        (found,) = force_trace(PaddleSoft(None), folder).divergences
        assert found.where == "casts"
