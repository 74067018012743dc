"""Containers whose names and whose parts' names all differ: paired by the layers that they hold."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

import paddle.nn.functional as PF
from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward
from align.pairing.by_rules import renamed_paths
from align.pairing.fill import load_state
from align.pairing.pair_nets import pair_nets
from align.pairing.reference_torch import LiveReference
from convert import convert_state
from convert.names.rules import Rename, Rules


class FeatureFusion(tnn.Module):
    def __init__(self):
        super().__init__()
        self.conv_low = tnn.Conv2d(3, 4, 1)
        self.conv_high = tnn.Conv2d(3, 4, 1)
        self.act = tnn.ReLU()

    def forward(self, low, high):
        return self.act(self.conv_low(low) + 2 * self.conv_high(high))


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        self.feature_fusion = FeatureFusion()
        self.classifier = tnn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.classifier(self.feature_fusion(x, torch.flip(x, [-1])))


class Fusion(pnn.Layer):
    """`order`: of its arguments; `outside`: the ReLU is its caller's; `factor`: a fault but 2."""

    def __init__(self, order, outside, factor):
        super().__init__()
        self.low = pnn.Conv2D(3, 4, 1)
        self.high = pnn.Conv2D(3, 4, 1)
        self.how = order, outside, factor

    def forward(self, *maps):
        order, outside, factor = self.how
        low, high = maps[::order]
        mixed = self.low(low) + factor * self.high(high)
        return mixed if outside else PF.relu(mixed)


class Port(pnn.Layer):
    def __init__(self, order=1, outside=False, factor=2, twice=False):
        super().__init__()
        self.fusion = Fusion(order, outside, factor)
        self.head = pnn.Conv2D(4, 2, 1)
        self.twice = twice

    def forward(self, x):
        given = x, paddle.flip(x, [-1])
        mixed = self.fusion(*given[:: self.fusion.how[0]])
        mixed = PF.relu(mixed) if self.fusion.how[1] else mixed
        return self.head(mixed * 2 if self.twice else mixed)


RULES = Rules(
    renames=(
        Rename(match=r"^feature_fusion\.conv_(low|high)\.(weight|bias)$", to=r"fusion.\1.\2"),
        Rename(match=r"^classifier\.(weight|bias)$", to=r"head.\1"),
    )
)
X = np.random.default_rng(0).standard_normal((2, 3, 5, 6))


def pair(**how):
    torch.manual_seed(0)
    theirs, ours = Reference(), Port(**how)
    arrays = {key: tensor.detach().numpy() for key, tensor in theirs.state_dict().items()}
    load_state(ours, convert_state(arrays, ours, RULES).state)
    return theirs, ours


def test_a_container_is_the_one_that_holds_the_same_layers():
    theirs, ours = pair()
    pairing = pair_nets(LiveReference(theirs), ours, RULES).pairing
    assert pairing.partners["fusion"] == "feature_fusion"
    assert pairing.by_content == {pairing.port_group["fusion"]}


@pytest.mark.parametrize("how", [{}, {"order": -1}, {"outside": True}], ids=str)
@pytest.mark.parametrize("rung", [align_forward, align_backward])
def test_a_right_port_is_right_wherever_its_container_begins_and_ends(how, rung):
    report = rung(*pair(**how), [X], rules=RULES)
    assert report.exit_code == 0, report.divergences
    moved = [note for note in report.notes if getattr(note, "kind", "") == "boundary_moved"]
    assert len(moved) == len(how)


FAULTS = {
    "in the container": ({"factor": 1}, "fusion"),
    "around it": ({"twice": True}, ""),
    "in it, its arguments in another order": ({"factor": 1, "order": -1}, "fusion"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("rung", [align_forward, align_backward])
def test_a_fault_is_told_where_it_is(fault, rung):
    how, place = FAULTS[fault]
    report = rung(*pair(**how), [X], rules=RULES)
    assert report.exit_code == 1
    blamed = {found.layer for found in report.divergences}
    assert place in blamed
    assert blamed <= {place, ""}
    if len(how) == 1:
        assert blamed == {place}


def test_of_containers_within_each_other_the_outermost_is_the_outermosts():
    rules = Rules(renames=(Rename(match=r"^a\.b\.c\.", to="x.y."),))
    modules = {path: [path] for path in ("", "a", "a.b", "a.b.c")}
    places, guessed = renamed_paths(modules, ["a.b.c.weight"], rules, ["", "x", "x.y"])
    assert (places["a"], places["a.b"], places["a.b.c"]) == (["x"], [], ["x.y"])
    assert guessed == {"a"}


def test_containers_of_other_layers_have_no_partner():
    renames = (("a.one", "x.i"), ("a.two", "x.j"), ("b.three", "x.k"))
    rules = Rules(renames=tuple(Rename(match=rf"^{old}\.", to=f"{new}.") for old, new in renames))
    paths = ["", "a", "b", *(old for old, _ in renames)]
    keys = [f"{old}.weight" for old, _ in renames]
    there = ["", "x", *(new for _, new in renames)]
    places, guessed = renamed_paths({path: [path] for path in paths}, keys, rules, there)
    assert not places["a"]
    assert not places["b"]
    assert not guessed
