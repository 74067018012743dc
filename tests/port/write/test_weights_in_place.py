"""First weights that a net writes itself, place by place: a Linear's stands turned in Paddle."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from port.folder import write_folder
from port.port import write_port
from tests.port.trial import build_port, recorded, written

HEAD = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3, bias=False)
        self.more = nn.Linear(3, 3, bias=False)
        nn.init.ones_(self.fc.weight)
        nn.init.eye_(self.more.weight)
"""
TAIL = """
    def forward(self, x):
        return self.more(self.fc(x.mean((2, 3))))
"""
WRITES = {
    "a place": "self.fc.weight.data[0, 2] = 7.0",
    "a part, in place": "self.fc.weight.data[1:, :2].mul_(2)",
    "a part of a first weight": "nn.init.constant_(self.fc.weight.data[:, 2], 0.25)",
    "a mask": "self.fc.weight.data[torch.ones(3, 3).tril() == 0] = 5.0",
    "all of it": "self.fc.weight.data.copy_(torch.arange(9.0).reshape(3, 3))",
    "of whole numbers": "self.fc.weight.data.copy_(torch.arange(9).reshape(3, 3))",
    "of one column": "self.fc.weight.data.copy_(torch.arange(3.0).reshape(3, 1))",
    "by a tensor": "self.fc.weight.data.add_(torch.arange(3.0))",
    "new data": "self.fc.weight.data = torch.arange(9.0).reshape(3, 3)",
    "changed data": "self.fc.weight.data *= torch.arange(3.0)",
    "the diagonal": "self.fc.weight.data.fill_diagonal_(4.0)",
    "of another Linear": "self.more.weight.data.copy_(self.fc.weight.data.cumsum(1))",
    "pieces": "a, b = self.fc.weight.data.chunk(2)\n        a.fill_(2.0)\n        b[:, 1] = 0.5",
    "pieces of several sizes": """
        a, b = torch.split(self.fc.weight.data, [1, 2], dim=1)
        b[1:] *= torch.arange(2.0)
        nn.init.constant_(self.more.weight.data.split(2)[1], 0.25)""",
    "pieces in turn": """
        with torch.no_grad():
            for place, rows in enumerate(torch.chunk(self.fc.weight, 3)):
                nn.init.constant_(rows, place)""",
    "pieces by places": "torch.tensor_split(self.fc.weight.data, [1])[1].fill_(2.0)",
    "by a name": "w = self.fc.weight.data\n        w[:, 1] = 0.5",
    "without gradients": """
        with torch.no_grad():
            self.fc.weight[2, 1] = 3.0
            self.fc.weight += torch.arange(3.0)
            self.more.weight /= 2""",
}
UNTOLD = {
    "of a loop": """
        for name, p in self.named_parameters():
            p.data[0, 1] = 3.0""",
    "pieces of a loop": """
        for name, p in self.named_parameters():
            p.data.chunk(3)[0].fill_(3.0)""",
    "copies in a loop": """
        loaded = {"fc.weight": torch.arange(9.0).view(3, 3)}
        for name, p in self.named_parameters():
            if name in loaded:
                p.data.copy_(loaded[name])""",
    "data in a loop": """
        named = self.named_parameters()
        loaded = {name: torch.arange(p.numel()).view(p.shape) for name, p in named}
        for name, p in self.named_parameters():
            p.data = loaded[name].float()""",
    "without gradients in a loop": """
        table = torch.arange(9.0).view(3, 3)
        with torch.no_grad():
            for p in self.fc.parameters():
                if p.dim() == 2:
                    p.mul_(table)""",
    "made in a loop": """
        for p in self.parameters():
            p.data.copy_(torch.arange(p.numel()).view(p.shape))""",
    "by a key": """
        held = dict(self.named_parameters())
        held["fc.weight"].data.copy_(torch.arange(9.0).view(3, 3))""",
    "the data of a table": """
        for p in self.fc.parameters():
            p.data.copy_(torch.eye(3).cumsum(0).data)""",
    "the first of all": "next(self.fc.parameters()).data = torch.arange(9.0).view(3, 3)",
    "flat": "self.fc.weight.data.view(-1)[1] = 9.0",
}


def _net(lines):
    return f"{HEAD}        {lines.strip()}\n{TAIL}"


@pytest.mark.parametrize("kind", WRITES)
def test_what_is_written_stands_at_torchs_place(kind, tmp_path):
    record, net = recorded(tmp_path, {"writes": _net(WRITES[kind])}, modes=("eval",))
    write_folder(tmp_path / "port_of_it", write_port(record), {"spec": "here", "arguments": {}})
    ported = build_port(tmp_path / "port_of_it")
    for name, weight in net.state_dict().items():
        ours = ported.state_dict()[name].numpy().T
        np.testing.assert_allclose(ours, weight.numpy(), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", UNTOLD)
def test_what_nobody_knows_is_a_gap(kind, tmp_path):
    record, _ = recorded(tmp_path, {"writes": _net(UNTOLD[kind])}, modes=("eval",))
    _, port = written(record)
    assert [gap for gap in port.gaps if gap.ran]


ALIKE = {
    "of another net": """
        for one, other in zip(self.fc.parameters(), self.more.parameters()):
            other.data.copy_(one.data)""",
    "of both": """
        for one, other in zip(self.fc.parameters(), self.more.parameters()):
            other.data = other.data * 0.25 + one.data * 0.75""",
    "of another net by a key": """
        held = dict(self.fc.named_parameters())
        for name, p in self.more.named_parameters():
            p.data.copy_(held[name])""",
    "zeros": """
        for p in self.fc.parameters():
            p.data = torch.zeros(p.shape)
            p.data.add_(1)""",
}


@pytest.mark.parametrize("kind", ALIKE)
def test_what_is_made_of_linears_weights_stands_as_they_do(kind, tmp_path):
    record, net = recorded(tmp_path, {"alike": _net(ALIKE[kind])}, modes=("eval",))
    port = write_port(record)
    assert not port.gaps
    write_folder(tmp_path / "port_of_it", port, {"spec": "here", "arguments": {}})
    ported = build_port(tmp_path / "port_of_it")
    ours = {name: one.numpy() for name, one in ported.state_dict().items()}
    if kind == "zeros":
        np.testing.assert_array_equal(ours["fc.weight"], net.fc.weight.detach().numpy().T)
    elif kind != "of both":
        np.testing.assert_array_equal(ours["more.weight"], ours["fc.weight"])


def test_a_weight_of_two_linears_is_one_in_the_port(tmp_path):
    lines = "self.more.weight = self.fc.weight\n        self.more.weight.data = self.fc.weight.data"
    record, _ = recorded(tmp_path, {"ties": _net(lines)}, modes=("eval",))
    files, port = written(record)
    assert "self.more.weight = self.fc.weight\n" in files["ties.py"]
    assert "set_data(self.more.weight, self.fc.weight.detach())\n" in files["ties.py"]
    assert not port.gaps


def test_a_weight_of_a_linear_and_an_embedding_is_a_gap(tmp_path):
    lines = "self.e = nn.Embedding(3, 3)\n        self.fc.weight = self.e.weight"
    record, _ = recorded(tmp_path, {"ties": _net(lines)}, modes=("eval",))
    _, port = written(record)
    assert any("turned" in gap.reason for gap in port.gaps)


def test_pieces_that_nothing_writes_into_stay_paddles(tmp_path):
    lines = "a, b, c = self.fc.weight.data.chunk(3)\n        self.rows = torch.cat([c, a, b])"
    record, _ = recorded(tmp_path, {"cuts": _net(lines)}, modes=("eval",))
    files, _ = written(record)
    assert "a, b, c = self.fc.weight.detach().t().chunk(3)\n" in files["cuts.py"]


def test_pieces_of_what_was_computed_stay_paddles(tmp_path):
    lines = """
        made = torch.relu(torch.rand(4, 2))
        a, b = made.chunk(2)
        a.fill_(1.0)
        self.rows = torch.cat([b, a])"""
    record, _ = recorded(tmp_path, {"cuts": _net(lines)}, modes=("eval",))
    files, _ = written(record)
    assert "a, b = made.chunk(2)\n" in files["cuts.py"]


RECURRENT = {
    "names": """for names in self.rnn._all_weights:
            for name in filter(lambda name: "bias" in name, names):
                getattr(self.rnn, name).data[:2].fill_(len(names))""",
    "weights": """for place, layer in enumerate(self.rnn.all_weights):
            for weight in layer:
                nn.init.constant_(weight, place)""",
    "flat": "self.rnn._flat_weights[self.rnn._flat_weights_names.index('bias_hh_l1')].data.zero_()",
    "ways": "self.rnn.bias_hh_l1.data[: self.rnn.hidden_size].fill_(self.rnn.bidirectional + 2)",
}


@pytest.mark.parametrize("kind", RECURRENT)
def test_a_recurrent_layers_weights_are_listed_by_layer(kind, tmp_path):
    lines = f"""
        self.rnn = nn.LSTM(3, 2, 2, bidirectional=True)
        for weight in self.rnn.parameters():
            nn.init.ones_(weight)
        {RECURRENT[kind]}"""
    record, net = recorded(tmp_path, {"repeats": _net(lines)}, modes=("eval",))
    write_folder(tmp_path / "port_of_rnn", write_port(record), {"spec": "here", "arguments": {}})
    ported = build_port(tmp_path / "port_of_rnn")
    for name, weight in net.rnn.named_parameters():
        np.testing.assert_array_equal(getattr(ported.rnn, name).numpy(), weight.detach().numpy())
