"""The log beside a pair of files says what reprod_log's check would."""

import numpy as np
import pytest

from commands.align.reprod_log import diff_log, write_with_log


@pytest.mark.parametrize(("off", "result"), [(0.0, "passed"), (1e-7, "passed"), (2e-6, "failed")])
def test_the_log_ends_as_the_guides_check_does(tmp_path, off, result):
    theirs = {"loss_0": np.zeros(1), "loss_1": np.zeros(2)}
    written = write_with_log(tmp_path, "loss", theirs, {**theirs, "loss_1": np.full(2, off)})
    lines = written.paths[-1].read_text().splitlines()
    assert "threshold of every mean: 1e-06" in lines[0]
    assert lines[1:3] == ["loss_0: ", "\tmean diff: check passed: True, value: 0.0"]
    assert f"\tmean diff: check passed: {result == 'passed'}, value: {off}" in lines
    assert lines[-1] == f"diff check {result}"


@pytest.mark.parametrize("other", [np.full(1, np.nan), np.zeros(2)])
def test_nan_and_another_shape_do_not_pass(other):
    assert diff_log({"loss": np.zeros(1)}, {"loss": other}).endswith("diff check failed\n")
