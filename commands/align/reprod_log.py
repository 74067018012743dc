"""Pairs of `.npy` files as reprod_log writes them, which reproduction contests accept.

A file holds one dict {name: array}, which `np.load(path, allow_pickle=True).item()` reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from align.arrays.batch import Inputs, as_batch
from align.judge.comparison import DIFFERS
from align.report.groups import in_groups
from align.report.report import Report
from common.documents import write_text
from common.errors import UserError

LoggedArrays = Mapping[str, np.ndarray]
SIDES = ("reference", "paddle")
THRESHOLD = 1e-6  # of mean |difference|: reprod_log's default, which the guide's checks use
GRADED_ROUNDS = 2  # "loss equal for >= 2 rounds" (the guide's step 8)


@dataclass(frozen=True)
class Written:
    """The files of one checkpoint; `distances`: mean |difference| by name, as graders judge it."""

    paths: list[Path]
    distances: dict[str, float]


def write_pair(
    folder: str | Path,
    checkpoint: str,
    theirs: LoggedArrays,
    ours: LoggedArrays,
    sides: tuple[str, str] = SIDES,
) -> list[Path]:
    """Write `<checkpoint>_<side>.npy` of both sides; return the paths.

    Raises UserError where there is nothing to write or the names differ.
    """
    if not theirs or set(theirs) != set(ours):
        missing = sorted(set(theirs) ^ set(ours))
        raise UserError(
            f"nothing to export for {checkpoint}: "
            + (f"only one side has {', '.join(missing[:5])}" if missing else "no tensor")
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{checkpoint}_{side}.npy" for side in sides]
    for path, arrays in zip(paths, (theirs, {key: ours[key] for key in theirs}), strict=True):
        _write(path, arrays)
    return paths


def write_with_log(
    folder: str | Path,
    checkpoint: str,
    theirs: LoggedArrays,
    ours: LoggedArrays,
    *,
    sides: tuple[str, str] = SIDES,
    threshold: float = THRESHOLD,
) -> Written:
    """Write the pair and, beside it, `<checkpoint>_diff.log`."""
    paths = write_pair(folder, checkpoint, theirs, ours, sides)
    log = Path(folder) / f"{checkpoint}_diff.log"
    write_text(log, diff_log(theirs, ours, threshold))
    distances = {key: _mean_distance(theirs[key], ours[key]) for key in theirs}
    return Written([*paths, log], distances)


def _mean_distance(theirs: np.ndarray, ours: np.ndarray) -> float:
    """Return the mean |difference|, infinite where the shapes differ."""
    if theirs.shape != ours.shape:
        return float("inf")
    off = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
    return float(off.mean()) if off.size else 0.0


def diff_log(theirs: LoggedArrays, ours: LoggedArrays, threshold: float = THRESHOLD) -> str:
    """Return what reprod_log's check says, by the mean, and the largest difference beside it."""
    lines, passed = [f"paddle against the reference; threshold of every mean: {threshold:g}"], True
    for key, left in theirs.items():
        right, mean = ours[key], _mean_distance(left, ours[key])
        fits = mean <= threshold  # NaN is no pass
        passed = passed and fits
        lines += [f"{key}: ", f"\tmean diff: check passed: {fits}, value: {mean}"]
        if left.shape != right.shape:
            lines.append(f"\tshape {list(right.shape)}, the reference has {list(left.shape)}")
        elif left.size:
            off = np.abs(right.astype(np.float64) - left.astype(np.float64)).max()
            lines.append(f"\tmax diff: value: {off}, shape {list(left.shape)}")
    lines.append(f"diff check {'passed' if passed else 'failed'}")
    return "\n".join(lines) + "\n"


def export_forward(
    folder: str | Path, torch_net: Any, paddle_net: Any, inputs: Inputs, rules: Any = None
) -> Written:
    """Run both nets once in eval mode and float64, and write their outputs, cast at the end.

    A grader's 1e-6 is finer than float32 itself where logits are larger than 8.
    """
    from align.pairing.pair_nets import pair_nets
    from align.pairing.reference_torch import LiveReference
    from align.trial.setup import prepared
    from commands.subjects import run_paddle, run_torch

    batch = as_batch(inputs, "float64")
    given = (batch.args, dict(batch.kwargs))
    sides = pair_nets(LiveReference(torch_net), paddle_net, rules)
    with prepared(sides, dtype="float64", train=False):
        theirs = run_torch.tensors_in_order(torch_net, *given)
        ours = run_paddle.tensors_in_order(paddle_net, *given)
    return write_with_log(folder, "forward", _named(theirs), _named(ours))


def export_loss(folder: str | Path, report: Report) -> Written:
    """Write the value of a report of `align_loss`: both criteria on the same outputs."""
    calls = [call for call in report.calls if call.at.kind == "loss" and not call.layer]
    known = [call for call in calls if None not in (call.reference_value, call.port_value)]
    names = [f"loss_{call.at.name or 0}" for call in known] if len(known) > 1 else ["loss"]
    theirs = {name: call.reference_value for name, call in zip(names, known, strict=True)}
    ours = {name: call.port_value for name, call in zip(names, known, strict=True)}
    return write_with_log(folder, "loss", as_arrays(theirs), as_arrays(ours))


def export_steps(folder: str | Path, report: Report) -> Written:
    """Write what the guide grades of a report of `align_training`, and what stands beside it.

    Graded, as bp_align: losses and rates of the first two rounds, which both nets run freely, in
    float64, cast at the end. Beside it `bp_align_free_run.csv`, the whole curve, whose rounding
    grows step by step in healthy ports too, and `bp_align_verdict.txt`, what the forced steps say.

    Raises UserError where the port did not come through two rounds.
    """
    rows = report.settings.get("free_steps") or []
    if len(rows) < GRADED_ROUNDS:
        raise UserError(
            f"no evidence of training: the port came through {len(rows)} of the {GRADED_ROUNDS} "
            "rounds that are graded; give at least two steps (--steps 2, or two files of --inputs; "
            "the same one twice will do)"
        )
    graded = [_round(rows[:GRADED_ROUNDS], side) for side in ("reference", "port")]
    written = write_with_log(folder, "bp_align", *graded)
    curve = ["step,reference_loss,port_loss,relative_error"]
    for row, error in zip(rows, report.settings["free_run"], strict=True):
        curve.append(f"{row['step']},{row['reference_loss']!r},{row['port_loss']!r},{error:.3e}")
    said = [f"forced steps, each judged alone: {report.verdict}"]
    for found in in_groups(report, DIFFERS).lines(report.divergences, str, str):
        said += [found[0], *(f"  {line}" for line in found[1:])]
    for name, lines in (("free_run.csv", curve), ("verdict.txt", said)):
        path = Path(folder) / f"bp_align_{name}"
        write_text(path, "\n".join(lines) + "\n")
        written.paths.append(path)
    return written


def export_data(folder: str | Path, loaders: tuple[Any, Any], count: int) -> Written:
    """Write the first image and its target of each of the first `count` batches of both loaders."""
    from align.arrays.trees import leaves
    from align.rungs.data import as_array, places_of

    sides: list[dict[str, np.ndarray]] = []
    for batches in loaders:
        firsts: dict[str, np.ndarray] = {}
        for number, batch in enumerate(islice(batches, count)):
            tensors, several = leaves(batch), isinstance(batch[-1], Mapping)
            plain = ["image", "label", *(f"tensor_{index}" for index in range(2, len(tensors)))]
            names = places_of(batch, ("image", "target")) if several else plain
            for name, tensor in zip(names, tensors, strict=False):
                if len(array := as_array(tensor)):  # of no object there is no first
                    firsts[f"{name}_{number}"] = np.array(array[0])
        sides.append(firsts)
    return write_with_log(folder, "data", *sides)


def export_metric(folder: str | Path, report: Report) -> Written:
    """Write the scores of a recipe's report of `align_metric`."""
    scores = report.settings["scores"]
    return write_with_log(folder, "metric", *(as_arrays(scores[s]) for s in ("reference", "port")))


def _round(rows: Sequence[Mapping[str, Any]], side: str) -> dict[str, np.ndarray]:
    """Return loss_i and lr_i [groups of the reference] of the rows of one side, float32."""
    losses = as_arrays({f"loss_{row['step']}": row[f"{side}_loss"] for row in rows})
    rates = {f"lr_{row['step']}": np.array(row[f"{side}_rates"], np.float32) for row in rows}
    return losses | rates


def as_arrays(numbers: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return each number as an array of one, float32."""
    return {name: np.array([number], np.float32) for name, number in numbers.items()}


def _named(arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    names = [f"output_{index}" if index else "logits" for index in range(len(arrays))]
    return {
        name: array.astype(np.float32) if array.dtype == np.float64 else array
        for name, array in zip(names, arrays, strict=True)
    }


def _write(path: Path, arrays: LoggedArrays) -> None:
    from common.files import whole_file

    with whole_file(path) as draft, draft.open("wb") as file:
        held: Any = {key: np.array(array) for key, array in arrays.items()}
        np.save(file, held, allow_pickle=True)
