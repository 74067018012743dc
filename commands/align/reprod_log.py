"""Pairs of `.npy` files as reprod_log writes them, which reproduction contests accept.

A file holds one dict {name: array}, which `np.load(path, allow_pickle=True).item()` reads.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from align.arrays.batch import Inputs, as_batch
from align.report.report import Report
from common.documents import write_text
from common.errors import UserError

LoggedArrays = Mapping[str, np.ndarray]
SIDES = ("reference", "paddle")


def write_pair(
    folder: str | Path, checkpoint: str, theirs: LoggedArrays, ours: LoggedArrays
) -> list[Path]:
    """Write `<checkpoint>_reference.npy` and `<checkpoint>_paddle.npy`; return the paths.

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
    paths = [folder / f"{checkpoint}_{side}.npy" for side in SIDES]
    for path, arrays in zip(paths, (theirs, {key: ours[key] for key in theirs}), strict=True):
        _write(path, arrays)
    return paths


def write_with_log(
    folder: str | Path, checkpoint: str, theirs: LoggedArrays, ours: LoggedArrays
) -> list[Path]:
    """Write the pair and, beside it, `<checkpoint>_diff.log`."""
    paths = write_pair(folder, checkpoint, theirs, ours)
    log = Path(folder) / f"{checkpoint}_diff.log"
    write_text(log, diff_log(checkpoint, theirs, ours))
    return [*paths, log]


def diff_log(stage: str, theirs: LoggedArrays, ours: LoggedArrays) -> str:
    """Return the differences of each array as text: mean, largest, shape."""
    lines = [f"{stage}: paddle against torch, |difference|"]
    for key, left in theirs.items():
        right = ours[key]
        if left.shape != right.shape:
            lines.append(f"{key}: shape {list(right.shape)}, torch has {list(left.shape)}")
            continue
        off = np.abs(left.astype(np.float64) - right.astype(np.float64))
        mean, largest = (float(off.mean()), float(off.max())) if off.size else (0.0, 0.0)
        lines.append(f"{key}: mean {mean:.6e}, max {largest:.6e}, shape {list(left.shape)}")
    return "\n".join(lines) + "\n"


def export_forward(
    folder: str | Path, torch_net: Any, paddle_net: Any, inputs: Inputs
) -> list[Path]:
    """Run both nets once in eval mode, as they are, and write their outputs (float32)."""
    from align.pairing.pair_nets import pair_nets
    from align.pairing.reference_torch import LiveReference
    from align.trial.setup import prepared
    from commands.subjects import run_paddle, run_torch

    batch = as_batch(inputs, "float32")
    given = (batch.args, dict(batch.kwargs))
    with prepared(pair_nets(LiveReference(torch_net), paddle_net), dtype="float32", train=False):
        theirs = run_torch.tensors_in_order(torch_net, *given)
        ours = run_paddle.tensors_in_order(paddle_net, *given)
    return write_with_log(folder, "forward", _named(theirs), _named(ours))


def export_scalars(folder: str | Path, report: Report) -> list[Path]:
    """Write the losses and learning rates of a report of `align_training`: loss_0, lr_0, ..."""
    theirs: dict[str, np.ndarray] = {}
    ours: dict[str, np.ndarray] = {}
    for call in report.calls:
        if call.where not in ("loss", "lr") or call.reference_value is None:
            continue
        key = call.where if call.step is None else f"{call.where}_{call.step}"
        if call.where == "lr" and call.layer != "(optimizer)":
            key = f"{key}_{call.layer}"
        theirs[key] = np.array([call.reference_value], np.float32)
        ours[key] = np.array([call.port_value], np.float32)
    return write_with_log(folder, "bp_align", theirs, ours)


def _named(arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"output_{index}" if index else "logits": a for index, a in enumerate(arrays)}


def _write(path: Path, arrays: LoggedArrays) -> None:
    from common.files import whole_file

    with whole_file(path) as draft, draft.open("wb") as file:
        held: Any = {key: np.array(array) for key, array in arrays.items()}
        np.save(file, held, allow_pickle=True)
