"""Rules files: what a user writes is checked, and what is wrong is said."""

import pytest

from common.errors import ConfigError
from common.pairs import PAIRS
from convert.names.rules import Rules, load_rules, resolve, shipped_rules


def test_the_shipped_files_of_every_row_load():
    for pair in PAIRS.values():
        assert shipped_rules(pair.rules)


@pytest.mark.parametrize(
    ("key", "first"),
    [
        ("x2.0.0.conv.weight", "features.0.conv.weight"),
        ("cp.backbone.x16.0.4.conv_list.0.bn.bias", "cp.backbone.features.4.conv_list.0.bn.bias"),
    ],
)
def test_stdc_second_names(key, first):
    assert resolve([first, key], load_rules("stdc")).aliases == {key: first}
    assert resolve([key], load_rules("stdc")).sources == {first: key}


@pytest.mark.parametrize("key", ["max2.0.0.weight", "x3.0.0.weight", "x2.1.0.weight"])
def test_stdc_rules_touch_nothing_else(key):
    assert resolve([key], load_rules("stdc")).sources == {key: key}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rename: []", "rename"),
        ("drops:\n  - match: 'a'", r"drops\.0\.reason"),
        ("renames:\n  - {match: '(', to: ''}", "regular expression"),
        ("renames:\n  - {match: 'a', to: '\\2'}", "does not fit"),
        ("aliases: [", "YAML"),
        ("- 1", "file"),
    ],
)
def test_a_wrong_file_is_one_clear_error(tmp_path, text, said):
    path = tmp_path / "map.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        load_rules(path)
    assert "map.yml" in str(caught.value)


def test_an_absent_file_lists_the_shipped_ones():
    with pytest.raises(ConfigError, match=r"shipped: .*stdc"):
        load_rules("nothing_like_it.yml")


def test_an_empty_file_holds_no_rules(tmp_path):
    (tmp_path / "map.yml").write_text("# nothing yet\n")
    assert load_rules(tmp_path / "map.yml") == Rules()


def test_a_mapping_holds_what_a_file_does():
    rules = load_rules({"renames": [{"match": "^a", "to": "b"}] * 200})
    assert len(rules.renames) == 200
    with pytest.raises(ConfigError, match="rules: renames"):
        load_rules({"renames": 3})
