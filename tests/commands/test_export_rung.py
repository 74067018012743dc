"""The exported net as a rung: its account as a report, the ladder, what has no exports."""

import copy

import pytest

from align.report.report import ALIGNED, NOT_ALIGNED
from commands.align.exported import report_of
from commands.align.rungs import RUNGS
from commands.subjects.recipe import Recipe
from common.errors import UserError
from tests.paths import ROOT

ROW = {
    "engine": "onnxruntime",
    "input": "noise",
    "shape": [1, 19, 8, 8],
    "error": 2e-7,
    "training_error": 1e-7,
    "allowed": 1e-6,
    "largest": 4.0,
    "classes_differ": 0,
    "unexplained": 0,
    "pixels": 64,
    "equal": True,
}
ACCOUNT = {
    "output": "logits",
    "batch_norms": {"in_all": 3, "folded": 2},
    "differences": [ROW | {"engine": "paddle"}, ROW],
    "notes": [],
}


def test_an_equal_export_is_aligned():
    report = report_of(ACCOUNT, "8x8")
    assert report.exit_code == ALIGNED
    assert [call.layer for call in report.calls] == ["paddle", "onnxruntime"]
    assert "2 of 3 BatchNorms" in report.notes[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"error": 0.5}, "off by 0.5"),
        ({"error": float("inf"), "unexplained": 64}, "64 of 64 pixels"),
    ],
)
def test_the_engine_that_computes_something_else_is_named(change, words):
    account = copy.deepcopy(ACCOUNT)
    account["differences"][1] |= change | {"equal": False}
    report = report_of(account, "8x8")
    assert report.exit_code == NOT_ALIGNED
    assert [found.layer for found in report.divergences] == ["onnxruntime"]
    assert words in str(report.divergences[0])


def test_nets_of_instances_have_no_such_rung():
    recipe = Recipe(ROOT / "configs" / "solo_r50_fpn_toy.yml", ())
    assert not recipe.is_exported
    with pytest.raises(UserError, match="is a net of instances"):
        RUNGS["export"].of_recipe(recipe, None, None)
    assert Recipe(ROOT / "configs" / "stdc1_toy.yml", ()).is_exported
