"""The two nets of a row of the table, with the same weights: what the commands align."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.pairs import get_pair


def seeded_pair(name: str, seed: int, **overrides: Any) -> tuple[Any, Any]:
    """Return (torch net, Paddle net) of row `name` with the same seeded weights, float32."""
    import paddle_impl
    from convert import convert_state
    from torch_ref.seeded import build_seeded

    torch_net = build_seeded(name, seed, **overrides)
    paddle_net = paddle_impl.build_model(name, **overrides)
    arrays = {key: tensor.numpy() for key, tensor in torch_net.state_dict().items()}
    load_state(paddle_net, convert_state(arrays, paddle_net).state)
    return torch_net, paddle_net


def pair_with_weights(
    path: str, name: str | None, overrides: Mapping[str, Any] | None = None, known: bool = True
) -> tuple[Any, Any, str]:
    """Return (torch net, Paddle net, row) that hold the PyTorch checkpoint at `path`.

    Args:
        path: the checkpoint.
        name: the row it must hold; None finds out.
        overrides: options of the row; what the file tells about them counts more.
        known: the file is one of the row as it is published. False: `overrides` say all.

    Raises UnreadableError or ConversionError.
    """
    import paddle_impl
    from convert import convert_checkpoint

    torch_net, row, options = reference_with_weights(path, name, overrides, known)
    paddle_net = paddle_impl.build_model(row, **options)
    load_state(paddle_net, convert_checkpoint(path, model=paddle_net).state)
    return torch_net, paddle_net, row


def reference_with_weights(
    path: str, name: str | None, overrides: Mapping[str, Any] | None = None, known: bool = True
) -> tuple[Any, str, dict[str, Any]]:
    """Return (torch net, row, options of the row) of a checkpoint, see `pair_with_weights`."""
    import torch_ref
    from convert import read_checkpoint
    from convert.conversion import rules_for
    from convert.recognise import recognise
    from convert.verify_torch import reference_state

    checkpoint = read_checkpoint(path)
    row, options = name or "", dict(overrides or {})
    if known:
        found = recognise({key: array.shape for key, array in checkpoint.items()}, name)
        row, options = found.row, {**options, **found.options}
    torch_net = torch_ref.build_model(row, **options)
    rules = rules_for(get_pair(row), None)
    torch_net.load_state_dict(reference_state(torch_net, checkpoint, rules), strict=True)
    return torch_net, row, options


def reference_of_row(
    name: str | None, weights: str | None, seed: int
) -> tuple[Any, str, dict[str, Any]]:
    """Return (torch net, row, options of the row), seeded or with a checkpoint; without Paddle."""
    if weights is not None:
        return reference_with_weights(weights, name)
    from torch_ref.seeded import build_seeded

    row = name or "stdc2_seg"
    return build_seeded(row, seed), row, {}


def load_state(paddle_net: Any, state: dict[str, np.ndarray]) -> None:
    """Fill every tensor of `paddle_net` from `state`; UserError where a name is left over.

    `set_state_dict` alone only warns about a misfit and keeps the old values.
    """
    missing, unexpected = paddle_net.set_state_dict(state)
    if missing or unexpected:
        raise UserError(
            f"the weights do not fill the net: {len(missing)} tensors missing "
            f"{missing[:3]}, {len(unexpected)} unexpected {unexpected[:3]}"
        )


def seeded_input(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return an input [N, C, H, W] float64 of N(0, 1), as a normalised image is."""
    return np.random.default_rng(seed).standard_normal(shape)


def check_input_shape(shape: tuple[int, ...], channels: int, train: bool) -> tuple[int, ...]:
    """Return `shape` [N, C, H, W] where a net can run it; UserError says what is wrong."""
    if len(shape) != 4 or min(shape) < 1:
        raise UserError(f"--input-shape takes four positive numbers N C H W, got {list(shape)}")
    if shape[1] != channels:
        raise UserError(f"the net takes {channels} channels, --input-shape has {shape[1]}")
    if train and shape[0] < 2:
        raise UserError(
            "train mode needs a batch of at least 2: BatchNorm over a 1x1 map has a single value "
            f"per channel otherwise; got --input-shape {' '.join(map(str, shape))}"
        )
    return shape


def write_report(report: Any, folder: Path, name: str) -> list[Path]:
    """Write what `write_numbers` writes, the page, and JUnit XML; return the paths."""
    numbers = write_numbers(report, folder, name)
    page, cases = folder / f"{name}.html", folder / f"{name}.xml"
    report.to_html(page)
    report.to_junit(cases)
    return [page, *numbers, cases]


def write_numbers(report: Any, folder: Path, name: str) -> list[Path]:
    """Write `report` as JSON, every comparison as CSV, and the picture; return the paths."""
    import csv
    import io
    from dataclasses import asdict

    from align.picture import error_picture
    from align.report import write_text

    json_path, csv_path = folder / f"{name}.json", folder / f"{name}.csv"
    report.to_json(json_path)
    text = io.StringIO()
    rows = [asdict(call) for call in report.calls]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else ["layer"])
    writer.writeheader()
    writer.writerows(rows)
    write_text(csv_path, text.getvalue())
    picture = folder / f"{name}.png"
    error_picture(report, picture)
    return [json_path, csv_path, picture]
