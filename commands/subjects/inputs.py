"""Inputs of nets: read from files, or seeded."""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from align.arrays.batch import Inputs
from common.errors import UserError


def read_inputs(
    path: str, torch_net: Any = None, paddle_net: Any = None, labelled: bool = False
) -> Inputs:
    """Return the arrays of an .npz (or one .npy): by position or by keyword.

    Arrays called arr_0, arr_1, ... (what `np.savez(path, image, label)` writes) are passed by
    position. Others are keywords, and must be parameters of both nets' `forward`. Where there is
    a label it is the last array, by any name. Raises UserError.
    """
    try:
        found = np.load(path, allow_pickle=False)
        arrays = {"arr_0": found} if isinstance(found, np.ndarray) else dict(found)
    except ValueError:  # NumPy's message advises to let the file run code
        raise UserError(
            f"--inputs {path}: is no .npz or .npy of plain arrays; write it with "
            "np.savez(path, image, ...)"
        ) from None
    except (OSError, EOFError) as error:
        raise UserError(f"--inputs {path}: cannot be read as arrays: {error}") from None
    if not arrays:
        raise UserError(f"--inputs {path}: holds no array")
    numbers = [name.removeprefix("arr_") for name in arrays]
    if all(name.startswith("arr_") and name[4:].isdigit() for name in arrays):
        if sorted(map(int, numbers)) != list(range(len(numbers))):
            raise UserError(f"--inputs {path}: has {', '.join(arrays)}; arr_0 to the last one")
        return [arrays[f"arr_{index}"] for index in range(len(arrays))]
    names = list(arrays)[:-1] if labelled else list(arrays)
    for net, side in ((torch_net, "reference"), (paddle_net, "port")):
        _check_names(path, names, net, side)
    return arrays


def _check_names(path: str, names: Sequence[str], net: Any, side: str) -> None:
    """Refuse names that `forward` of `net` has not."""
    if net is None:
        return
    parameters = inspect.signature(net.forward).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    strange = [name for name in names if name not in parameters]
    if strange:
        raise UserError(
            f"--inputs {path}: has {', '.join(names)}, but forward of the {side} takes "
            f"{', '.join(parameters)}; name them so, or arr_0, arr_1, ... to pass by position"
        )


def seeded_inputs(shapes: Sequence[Sequence[int]], seed: int) -> list[np.ndarray]:
    """Return one array of N(0, 1) for each shape; the first is `subjects.seeded_input`'s.

    Raises UserError for a shape with a size below 1.
    """
    for shape in shapes:
        if not shape or min(shape) < 1:
            raise UserError(f"--input-shape takes positive numbers, got {list(shape)}")
    return [seeded_input(tuple(shape), seed + index) for index, shape in enumerate(shapes)]


def options_of(pairs: Sequence[str], option: str) -> dict[str, Any]:
    """Return {key: value} of "key=value", values as in YAML.

    Raises UserError for anything else; `option` is its name there.
    """
    import yaml

    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise UserError(f"{option} {pair}: expected key=value")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"{option} {pair}: {error}") from None
    return found


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
