"""Pairing of nets whose names and tensors differ: by the rules file of their conversion."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward, align_training, align_weights
from align.pairing.by_rules import renamed_paths
from align.pairing.fill import load_state
from align.pairing.pair_nets import pair_nets
from align.pairing.reference_torch import LiveReference
from convert import convert_state
from convert.names.rules import Rename, Rules, Split


class Attention(tnn.Module):
    """One packed projection, a layer without weights, another name than the port's."""

    def __init__(self):
        super().__init__()
        self.qkv = tnn.Linear(8, 24)
        self.drop = tnn.Dropout(0.25)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self.drop(torch.softmax(q @ k.transpose(1, 2), dim=-1) @ v)


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = tnn.ModuleList([Attention(), Attention()])
        self.classifier = tnn.Linear(8, 3)

    def forward(self, x):
        for layer in self.trunk:
            x = x + layer(x)
        return self.classifier(x.mean(dim=1))


class PortAttention(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (pnn.Linear(8, 8) for _ in range(3))
        self.drop = pnn.Dropout(0.25)

    def forward(self, x):
        scores = paddle.matmul(self.q(x), self.k(x), transpose_y=True)
        return self.drop(paddle.matmul(pnn.functional.softmax(scores, axis=-1), self.v(x)))


class Port(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.blocks = pnn.LayerList([PortAttention(), PortAttention()])
        self.head = pnn.Linear(8, 3)

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return self.head(x.mean(axis=1))


# For tensors only, anchored at both ends, as a proposal writes them.
RULES = Rules(
    renames=(
        Rename(match=r"^trunk\.(\d)\.qkv\.(weight|bias)$", to=r"blocks.\1.qkv.\2"),
        Rename(match=r"^classifier\.(weight|bias)$", to=r"head.\1"),
    ),
    splits=(Split(match=r"^(.*)\.qkv\.(.*)$", into=(r"\1.q.\2", r"\1.k.\2", r"\1.v.\2")),),
)


def pair():
    torch.manual_seed(0)
    theirs, ours = Reference(), Port()
    arrays = {key: tensor.detach().numpy() for key, tensor in theirs.state_dict().items()}
    load_state(ours, convert_state(arrays, ours, RULES).state)
    return theirs, ours


def found(report):
    return {(d.layer, d.where) for d in report.divergences}


X = np.random.default_rng(0).standard_normal((2, 5, 8))


def test_rules_for_tensors_lead_to_layers_and_containers():
    reference, port = pair()
    partners = pair_nets(LiveReference(reference), port, RULES).pairing.partners
    assert partners["head"] == "classifier"
    assert partners["blocks.1"] == "trunk.1"
    assert partners["blocks.1.drop"] == "trunk.1.drop"
    assert "blocks.0.q" not in partners


def test_pieces_of_a_packed_tensor_are_compared_one_by_one():
    theirs, ours = pair()
    report = align_weights(theirs, ours, rules=RULES)
    assert report.exit_code == 0, report.verdict
    assert sum(call.where.startswith("weight") for call in report.calls) == 14
    ours.blocks[1].k.weight.set_value(ours.blocks[1].v.weight)
    assert found(align_weights(theirs, ours, rules=RULES)) == {("blocks.1.k", "weight:weight")}


def test_a_piece_that_the_port_lacks_is_found():
    theirs, ours = pair()
    del ours.blocks[0].v
    report = align_weights(theirs, ours, rules=RULES)
    assert found(report) == {("blocks.0", "weight:weight"), ("blocks.0", "weight:bias")}
    assert "trunk.0.qkv.weight" in report.divergences[0].cause


def test_gradients_of_pieces_are_judged():
    theirs, ours = pair()
    report = align_backward(theirs, ours, [X], rules=RULES)
    assert report.exit_code == 0, report.verdict
    judged = {(call.layer, call.where) for call in report.calls}
    assert {("blocks.0.v", "grad:weight"), ("blocks.1.k", "grad:bias")} <= judged
    forward = ours.blocks[0].v.forward
    ours.blocks[0].v.forward = lambda x: forward(x).detach()
    blamed = found(align_backward(theirs, ours, [X], rules=RULES))
    assert ("blocks.0.v", "grad:weight") in blamed
    assert not [layer for layer, _ in blamed if not layer.startswith("blocks.0")]


def test_training_with_rules_forces_pieces_and_their_slots():
    theirs, ours = pair()
    batches = [(X, np.array([0, 2])), (X[::-1].copy(), np.array([1, 2]))]
    report = align_training(
        theirs,
        ours,
        batches,
        lambda out, label: tnn.functional.cross_entropy(out, label),
        lambda out, label: pnn.functional.cross_entropy(out, label),
        lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
        lambda parameters: paddle.optimizer.Momentum(0.1, 0.9, parameters),
        rules=RULES,
    )
    assert report.exit_code == 0, report.verdict
    assert {c.layer for c in report.calls if c.where == "slot:weight.momentum_buffer"} >= {
        "blocks.0.q",
        "head",
    }


def test_packed_attention_of_torch_itself_needs_no_rules():
    torch.manual_seed(0)
    theirs = tnn.MultiheadAttention(8, 2, batch_first=True)
    ours = pnn.MultiHeadAttention(8, 2)
    arrays = {key: tensor.detach().numpy() for key, tensor in theirs.state_dict().items()}
    load_state(ours, convert_state(arrays, ours).state)
    assert align_weights(theirs, ours).aligned
    ours.k_proj.bias.set_value(ours.k_proj.bias + 1)
    assert found(align_weights(theirs, ours)) == {("k_proj", "weight:bias")}


def test_loss_and_rules_go_together():
    theirs, ours = pair()
    report = align_backward(
        theirs,
        ours,
        [X, np.array([0, 2])],
        tnn.functional.cross_entropy,
        lambda out, label: pnn.functional.cross_entropy(out, label),
        rules=RULES,
    )
    assert report.exit_code == 0, report.verdict
    assert ("head", "grad:weight") in {(call.layer, call.where) for call in report.calls}


def test_what_the_rules_drop_is_a_note_and_no_difference():
    from convert.names.rules import Absent, Drop

    theirs, ours = pair()
    theirs.aux, ours.extra = tnn.Linear(2, 2), pnn.Linear(2, 2)
    assert align_weights(theirs, ours, rules=RULES).exit_code == 1
    excuses = Rules(
        drops=(Drop(match=r"^aux\.", reason="training only"),),
        absent=(Absent(match=r"^extra\.", reason="trained here"),),
    )
    report = align_weights(theirs, ours, rules=RULES + excuses)
    assert report.aligned
    assert sum("training only" in note or "trained here" in note for note in report.notes) == 4


def test_a_tensor_of_another_shape_is_compared_as_the_rules_say():
    from convert.names.rules import Reshape

    theirs, ours = tnn.Sequential(tnn.Linear(8, 4)), pnn.Sequential(pnn.Conv2D(8, 4, 1))
    weight, bias = (parameter.detach().numpy() for parameter in theirs.parameters())
    ours.set_state_dict({"0.weight": weight.reshape(4, 8, 1, 1), "0.bias": bias})
    assert align_weights(theirs, ours).exit_code == 1
    rules = Rules(reshapes=(Reshape(match=r"^0\.weight$", shape=(4, 8)),))
    assert align_weights(theirs, ours, rules=rules).aligned
    ours[0].weight.set_value(ours[0].weight.flip(0))
    assert found(align_weights(theirs, ours, rules=rules)) == {("0", "weight:weight")}


def test_layers_in_a_plain_list_are_named_with_the_list():
    class Hidden(pnn.Layer):
        def __init__(self):
            super().__init__()
            self.blocks = [PortAttention(), PortAttention()]
            self.head = pnn.Linear(8, 3)

    report = align_weights(Reference(), Hidden(), rules=RULES)
    causes = [d.cause for d in report.divergences]
    assert any("blocks is a plain Python list of 2 layers" in cause for cause in causes)


def test_inputs_may_be_numbers_and_none():
    class Scaled(tnn.Module):
        def forward(self, x, scale, mask=None, *, mode="a"):
            return x * scale if mask is None and mode == "b" else x

    class Port(pnn.Layer):
        def forward(self, x, scale, mask=None, *, mode="a"):
            return x * scale if mask is None and mode == "b" else x

    inputs = {"x": X, "scale": 3, "mask": None, "mode": "b"}
    assert align_forward(Scaled(), Port(), inputs).exit_code == 0


def test_where_tensors_go_counts_more_than_half_of_the_way_of_a_path():
    """The first rename moves the path as well, the second the tensors alone."""
    rules = Rules(
        renames=(
            Rename(match=r"^stem\.", to="first."),
            Rename(match=r"^first\.norm\.(weight|bias)$", to=r"first.bn.\1"),
        )
    )
    modules = {"": [""], "stem": ["stem"], "stem.norm": ["stem.norm"], "stem.act": ["stem.act"]}
    places = renamed_paths(modules, ["stem.norm.weight", "stem.norm.bias"], rules)[0]
    assert places["stem.norm"] == ["first.bn"]
    assert places["stem"] == ["first"]
    assert places["stem.act"] == ["first.act"]
