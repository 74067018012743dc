"""panoptic_quality: a stranger's files, their scores, and exit codes."""

import json

import pytest

from common.metrics.panoptic import panoptic_quality
from tests import nursery
from tests.common.metrics.panoptic_sets import CATEGORIES, drawn_set, write_set


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return drawn_set(tmp_path_factory.mktemp("panoptic"))


def run(*arguments):
    return nursery.run("panoptic_quality", *arguments, "--lang", "en")


def test_the_scores_are_those_of_the_library(files):
    expected = panoptic_quality(*files)
    done = run(*files, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
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
def test_the_exit_code_says_whether_it_is_good_enough(files, least, code, said):
    done = run(*files, "--at-least", least)
    assert done.returncode == code
    assert done.stdout.splitlines()[-1] == f"5 images: PQ 0.4779 {said}"
    assert "things (2)" in done.stdout
    assert "class 26" in done.stdout


def test_files_that_do_not_agree_are_one_message(files, tmp_path):
    truth = write_set(tmp_path / "gt.json", {}, CATEGORIES)
    done = run(truth, files[1])
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr.strip() == f"error: {truth}: annotations is empty, so there is nothing to score"
    )
