"""Regular expressions of rules and configs end in time, and say which one did not."""

import threading
import time

import pytest
from pydantic import TypeAdapter, ValidationError

from common.errors import ConfigError
from common.param_groups import found_by
from common.settings.section import Expression
from common.words import patterns
from convert.names.rules import load_rules, resolve

NAME = "layer.block." * 5 + "weight"
SLOW = r"^(([a-z.])+.)+[A-Z]([a-z])+$"


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(patterns, "SECONDS", 0.02)
    monkeypatch.setattr(patterns, "_left", [0.02])


@pytest.mark.parametrize(
    "rules",
    [
        {"renames": [{"match": SLOW, "to": "b"}]},
        {"drops": [{"match": SLOW, "reason": "x"}]},
        {"aliases": [{"match": "(x|.|.)*!", "to": "b"}]},
        {"splits": [{"match": "(.*)*(.*)*(.*)*Q", "into": ["a", "b"]}]},
    ],
)
def test_a_rule_that_never_ends_is_named(rules, impatient):
    began = time.process_time()
    with pytest.raises(
        ConfigError, match=r"the pattern '.*' takes too long on 'layer.block"
    ) as caught:
        resolve([NAME], load_rules(rules))
    assert time.process_time() - began < 5
    (rule,) = next(iter(rules.values()))
    assert repr(rule["match"]) in str(caught.value)


@pytest.mark.parametrize("question", ["absence", "shape", "kind", "transposed"])
def test_what_rules_say_of_tensors_ends_too(question, impatient):
    said = {"absent": {"reason": "x"}, "reshapes": {"shape": [2]}, "kinds": {"kind": "linear"}}
    rules = {name: [{"match": SLOW, **more}] for name, more in said.items()}
    with pytest.raises(ConfigError, match="takes too long"):
        getattr(load_rules({**rules, "keep": [SLOW]}), question)(NAME)


def test_a_pattern_of_a_config_ends_too(impatient):
    with pytest.raises(ConfigError, match=r"takes too long on 'layer.block"):
        found_by(SLOW, [NAME], "freeze.parameters[0]")


@pytest.mark.parametrize("text", ["(", "(" * 2000 + ")" * 2000, "a{99999999999999999999}"])
def test_what_is_no_pattern_is_told(text):
    assert patterns.fault_of(text)
    with pytest.raises(ValidationError, match="no regular expression"):
        TypeAdapter(Expression).validate_python(text)


def test_many_short_matches_take_none_of_the_time(impatient):
    rules = load_rules({"renames": [{"match": r"^(\w+)\.(\d+)\.", "to": r"\2.\1."}]})
    names = resolve([f"layer.{number}.weight" for number in range(3000)], rules)
    assert names.sources["2999.layer.weight"] == "layer.2999.weight"


def test_another_thread_matches_without_a_timer():
    found = []
    thread = threading.Thread(target=lambda: found.append(patterns.matches("(a+)+b", "aab")))
    thread.start()
    thread.join()
    assert found == [True]
