"""Which modules the names of nodes tell."""

import pytest

from align.witness.graph import Node
from align.witness.places import modules_around

MODULES = {
    *("stem", "stem.0", "stem.1", "stem.1.0", "layer1", "layer1.0", "layer1.0.conv"),
    *("relu", "relu_1", "blocks", "blocks.0", "blocks.0.mlp", "a", "a.a", "a.a.a"),
}


@pytest.mark.parametrize(
    ("scopes", "modules"),
    [
        (["stem", "stem.1", "stem.1.0"], ["stem", "stem.1", "stem.1.0"]),
        (["layer1", "layer1.0", "conv"], ["layer1", "layer1.0", "layer1.0.conv"]),
        (["layer1", "layer1.0", "conv_2"], ["layer1", "layer1.0", "layer1.0.conv"]),
        (["blocks.0", "mlp"], ["blocks.0", "blocks.0.mlp"]),
        (["relu_1"], ["relu_1"]),
        (["relu_2"], ["relu"]),
        (["a", "a", "a"], ["a", "a.a", "a.a.a"]),
        (["wrapped", "stem"], []),
        (["layer1", "attention"], ["layer1"]),
    ],
)
def test_names_in_slashes(scopes, modules):
    node = Node("n", "Conv", tuple(scopes), False, (), ())
    assert [module for module, _ in modules_around(node, MODULES.__contains__)] == modules


def test_whole_paths_and_numbers_of_calls():
    scopes = ("layer1", "layer1.0", "layer1.0.conv@1")
    node = Node("n", "Conv", scopes, True, (), ())
    found = modules_around(node, MODULES.__contains__)
    assert [module for module, _ in found] == ["layer1", "layer1.0", "layer1.0.conv"]
    first = Node("n", "Conv", (*scopes[:2], "layer1.0.conv"), True, (), ())
    assert modules_around(first, MODULES.__contains__)[2] != found[2]
