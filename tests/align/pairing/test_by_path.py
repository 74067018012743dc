"""Layers pair by their paths, shared ones by any of them."""

from align.pairing.by_path import pair_by_path


def test_a_shared_module_matches_under_any_of_its_paths():
    reference = {"": [""], "features.0": ["features.0", "x2.0.0"], "head": ["head"]}
    port = {"": [""], "x2.0.0": ["x2.0.0"], "head": ["head"], "extra": ["extra"]}
    pairing = pair_by_path(reference, port)
    assert pairing.partners == {"": "", "x2.0.0": "features.0", "head": "head"}


def test_what_one_side_shares_and_the_other_keeps_apart_is_one_group():
    pairing = pair_by_path({"a": ["a", "b"]}, {"a": ["a"], "b": ["b"]})
    assert pairing.port_group["a"] == pairing.port_group["b"] == pairing.reference_group["a"]
    assert pairing.without({pairing.port_group["a"]}).partners == {}
