"""The exported net as a rung: what the files compute, against the training net."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align.causes.blame import blame_alone
from align.judge.comparison import DIFFERS, EQUAL, Comparison
from align.judge.words import Cause, Words
from align.report.report import Report

if TYPE_CHECKING:
    from commands.subjects.recipe import Recipe


def align_export(recipe: "Recipe", paddle_net: Any) -> Report:
    """Export the port with its weights into a folder that goes, and judge what the files compute.

    They are run in processes of their own, as `tools/export.py` runs them before it writes.

    Raises UserError where such a net is not exported, or an engine does not run it.
    """
    from commands.deploy.subject_paddle import subject_of
    from export.make.job_paddle import ExportDiffers, export_net
    from export.make.onnx_paddle import is_possible
    from paddle_impl.train import read_arrays

    subject = replace(subject_of(recipe.settings, None), arrays=read_arrays(paddle_net))
    batch, _, *size = recipe.settings.reproduce.input_shape
    height, width = size  # a net of volumes was refused
    deployment = subject.deployment(batch=batch, height=height, width=width, weights_sha256=None)
    formats = ("paddle", "onnx") if is_possible() else ("paddle",)
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        try:
            account = export_net(subject.build, deployment, Path(folder) / "exported", formats)
        except ExportDiffers as found:
            account = found.account
    report = report_of(account, f"{height}x{width}")
    if "onnx" not in formats:
        report.notes.append(Words("exported_without_onnx"))
    return report


def report_of(account: Mapping[str, Any], size: str) -> Report:
    """Return what an export's account says as a report: one row an engine and an input."""
    norms = account["batch_norms"]
    report = Report("export", settings={"dtype": "float32", "output": account["output"]})
    report.calls = [_row(found) for found in account["differences"]]
    said = {"folded": norms["folded"], "norms": norms["in_all"], "size": size}
    report.notes = [Words("exported", **said), *account["notes"]]
    return blame_alone(report)


def _row(found: Mapping[str, Any]) -> Comparison:
    row = Comparison(found["engine"], f"{found['engine']}#0", f"output:{found['input']}", "glue")
    row.shape, row.scale = tuple(found["shape"]), found["largest"]
    row.relative_error, row.floor = float(found["error"]), found["allowed"]
    row.verdict = EQUAL if found["equal"] else DIFFERS
    if found["unexplained"]:
        row.cause = Cause("exported_class", count=found["unexplained"], total=found["pixels"])
    return row
