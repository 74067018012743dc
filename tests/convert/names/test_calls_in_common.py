"""Layers of other names, where one side calls a few that the other does not, or never calls one."""

import pytest

from convert.names.call_order import Calls
from convert.names.pair_search import PairSearch, ShapedLayer, containers_alike

# A block: (name in the file, name in the net, shape), as both are called.
BLOCK = (
    *(("reduce.conv", "squeeze.op", 3), ("reduce.bn", "squeeze.norm", 4)),
    *(("left.conv", "near.op", 5), ("left.bn", "near.norm", 4)),
    *(("right.conv", "far.op", 6), ("right.bn", "far.norm", 4)),
    *(("middle", "mid", 4), ("expand", "widen", 7)),
)
NAMES = [(f"body.{i}.{a}", f"stage.{i}.{b}", size) for i in range(2) for a, b, size in BLOCK]


def search(lost=(), order=None):
    """Return what is paired where the net never calls `lost`; `order`: of the net's calls."""
    ours, theirs = (
        {name[side]: ShapedLayer({"weight": ("weight", (name[2],))}) for name in NAMES}
        for side in (0, 1)
    )
    calls = [[n[side] for n in NAMES] for side in (0, 1)]
    calls[1] = [name for name in order or calls[1] if name not in lost]
    found = PairSearch(ours, theirs, (calls[0], calls[1]))
    found.run()
    return {pair.source: pair.target for pair in found.found.values()}


RIGHT = {source: target for source, target, _ in NAMES}


@pytest.mark.parametrize("lost", [(), ("stage.0.mid",), ("stage.0.mid", "stage.1.mid")])
def test_a_layer_that_the_net_never_calls_does_not_open_all_the_others(lost):
    assert search(lost) == RIGHT


def test_what_is_paired_of_another_order_is_right():
    order = [name for _, name, _ in NAMES]
    order[2:6] = [*order[4:6], *order[2:4]]  # near and far, exchanged
    found = search(order=order)
    assert found.items() <= RIGHT.items()


def in_common(ours, theirs):
    calls = Calls(list(ours), list(theirs), lambda path, _: path.lower())
    return [(pair.source, pair.target) for pair in calls.in_common({})]


def test_only_what_every_way_says_is_paired():
    assert in_common("ABCDEFGH", "abcdefh") == [(c, c.lower()) for c in "ABCDEFH"]
    calls = Calls(range(7), range(6), lambda at, ours: "XYYZUVW"[at] if ours else "XYZUVW"[at])
    pairs = {(pair.source, pair.target) for pair in calls.in_common({})}
    assert pairs == {(0, 0), (3, 2), (4, 3), (5, 4), (6, 5)}  # which Y is it?


def test_calls_that_have_little_in_common_pair_nothing():
    assert in_common("ABCDE", "axxyy") == []
    assert in_common("ABAC", "acab") == []


def test_containers_are_alike_that_hold_just_each_others_partners():
    targets = {"a.x.one": "u.one", "a.x.two": "u.two", "a.y": "v.w.y", "b": "v.b"}
    assert containers_alike(targets) == {"a.x": "u"}
