"""A report's verdict, exit code and JSON."""

import json

import pytest

from align.judge.comparison import DIFFERS, EQUAL, NOISE, UNCHECKED, Comparison
from align.report.report import Divergence, Report
from common.errors import UserError


def report(*verdicts):
    calls = [
        Comparison(f"l{i}", "", "output:0", "layer", verdict=v) for i, v in enumerate(verdicts)
    ]
    found = Report("forward", calls)
    found.divergences = [
        Divergence(call.layer, call.where, 1.0, 0.0) for call in calls if call.verdict == DIFFERS
    ]
    return found


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ((EQUAL,), 0),
        ((EQUAL, NOISE), 0),
        ((EQUAL, DIFFERS), 1),
        ((UNCHECKED, DIFFERS), 1),
        ((EQUAL, UNCHECKED), 2),
        ((NOISE,), 2),
        ((), 2),
    ],
)
def test_exit_codes(verdicts, code):
    found = report(*verdicts)
    assert found.exit_code == code
    assert found.aligned == (code == 0)
    assert found.verdict


def test_json_holds_no_nan(tmp_path):
    found = report(DIFFERS)
    found.calls[0].relative_error = float("inf")
    found.calls[0].port_value = float("nan")
    found.to_json(tmp_path / "report.json")
    call = json.loads((tmp_path / "report.json").read_text())["calls"][0]
    assert (call["relative_error"], call["port_value"]) == ("inf", "nan")


def test_report_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        report(EQUAL).to_json(tmp_path / "file" / "report.json")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
