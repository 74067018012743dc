"""panoptic_quality: a stranger's files, their scores, and exit codes."""

import json
import sys

import numpy as np
import pytest

from commands import entry
from commands.evaluate.panoptic_files import parse, score
from common.metrics.panoptic import panoptic_quality
from common.words import language
from tests.common.metrics.panoptic_sets import CATEGORIES, drawn_set, write_set


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return drawn_set(tmp_path_factory.mktemp("panoptic"))


@pytest.fixture
def run(monkeypatch, capsys):
    """Return a function that gives exit code, output and messages of a command line."""
    monkeypatch.setattr(language, "_chosen", [language.ENGLISH])

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["panoptic_quality.py", *map(str, arguments)])
        code = entry.exit_code(lambda: score(parse("Score.")))
        return code, *capsys.readouterr()

    return command


def test_the_scores_are_those_of_the_library(files, run):
    expected = panoptic_quality(*files)
    code, out, err = run(*files, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert {name: told[name] for name in ("All", "Things", "Stuff")} == {
        name: expected[name] for name in ("All", "Things", "Stuff")
    }
    car = told["per_class"]["24"]
    assert (car["name"], car["isthing"], car["tp"], car["fn"], car["fp"]) == (
        "class 24",
        True,
        3,
        1,
        1,
    )
    assert car["pq"] == expected["per_class"][24]["pq"]
    assert (told["images"], told["exit_code"]) == (5, 0)


@pytest.mark.parametrize(("least", "code", "said"), [("0.4", 0, ">= 0.4"), ("0.5", 1, "< 0.5")])
def test_the_exit_code_says_whether_it_is_good_enough(files, run, least, code, said):
    found, out, _ = run(*files, "--at-least", least)
    assert found == code
    assert out.splitlines()[-1] == f"5 images: PQ 0.4779 {said}"
    assert "things (2)" in out
    assert "class 26" in out
    quiet = run(*files, "--at-least", least, "--quiet")
    assert quiet == (code, f"{out.splitlines()[-1]}\n", "")


def test_files_that_do_not_agree_are_one_message(files, tmp_path, run):
    truth = write_set(tmp_path / "gt.json", {}, CATEGORIES)
    said = f"error: {truth}: annotations is empty, so there is nothing to score\n"
    assert run(truth, files[1]) == (2, "", said)


def test_without_a_segment_nothing_was_checked(tmp_path, run):
    ids = np.zeros((2, 2), int)
    files = [
        write_set(tmp_path / f"{name}.json", {"a": (ids, [])}, CATEGORIES) for name in ("t", "p")
    ]
    code, out, _ = run(*files, "--quiet")
    assert (code, out) == (2, "could not check: 1 images have no segment that counts\n")
    assert json.loads(run(*files, "--json")[1])["All"] == {
        "pq": None,
        "sq": None,
        "rq": None,
        "n": 0,
    }
