"""Trees of arguments and outputs: leaves in one order, types kept."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

from align.arrays.trees import leaves, map_leaves

Pair = namedtuple("Pair", "left right")


@dataclass(frozen=True)
class Output:
    logits: int
    extra: tuple


def test_trees_keep_their_types_and_visit_in_one_order():
    tree = OrderedDict(b=Output(1, (2, [3])), a=Pair(4, None))
    again = map_leaves(tree, lambda leaf: leaf if leaf is None else leaf * 10)
    assert list(again) == ["b", "a"]
    assert again["b"] == Output(10, (20, [30]))
    assert again["a"] == Pair(40, None)
    assert tree["b"].logits == 1
    assert leaves({"b": 1, "a": 2}) == leaves({"a": 2, "b": 1}) == [2, 1]
