"""Inputs of nets: read from files, or seeded."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from align.arrays.batch import Inputs
from align.judge.words import Words
from common.data.numpy_files import read_arrays
from common.errors import UnreadableError, UserError

DEEPEST, LONGEST = 50, 500  # dots and letters of a name
LABEL = "a label stands last, and goes with --torch-loss and --paddle-loss"


def read_inputs(
    path: str,
    torch_net: Any = None,
    paddle_net: Any = None,
    labelled: bool = False,
    say: Callable[[str], None] | None = None,
) -> Inputs:
    """Return the arrays of an .npz (or one .npy): by position or by keyword.

    Arrays called arr_0, arr_1, ... (what `np.savez(path, image, label)` writes) are passed by
    position. Others are keywords, and must be parameters of both nets' `forward`. Where there is
    a label it is the last array, by any name; or the one called label beside arr_0, ...; or all
    arrays called label.NAME, as a dict, and label.0, label.1, ... as a tuple, nested at will
    (label.boxes.0). In the same way arr_0.0, arr_0.1, ... or images.0, ... are one list, of images
    of several sizes, and arr_1.0.boxes, arr_1.0.labels, ... a list of dicts.

    Without losses a batch may end with its label all the same: the last array, where the
    reference's `forward` has a place for every other one and none for this. It is left out, and
    `say` is told; without `say` it is refused. Raises UserError.
    """
    arrays = _arrays_of(path)
    parts = [name for name in arrays if labelled and name.startswith(_LABEL)]
    label = _tree(path, {name: arrays.pop(name) for name in parts}, _LABEL)
    if not parts and _is_named_label(arrays) and (labelled or say):
        parts, label = [NAMED], arrays.pop(NAMED)
        if say and not labelled:
            say(Words("label_left_out", path=path, name=NAMED))
            parts = []
    last_is_label = labelled and not parts
    arrays = _with_lists(path, arrays)
    nets = {"reference": torch_net, "port": paddle_net}
    signatures = [Signature(side, net) for side, net in nets.items() if net is not None]
    numbers = [name.removeprefix("arr_") for name in arrays]
    by_position = all(name.startswith("arr_") and _is_number(name[4:]) for name in arrays)
    if by_position and sorted(map(int, numbers)) != list(range(len(numbers))):
        raise UserError(f"--inputs {path}: has {', '.join(arrays)}; arr_0 to the last one")
    names = sorted(arrays, key=lambda name: int(name[4:])) if by_position else list(arrays)
    _note(path, [(name, arrays[name]) for name in names], label if parts else None, labelled, nets)
    misfit = _misfit_by_position if by_position else _misfit_by_name
    wrong = misfit(names[:-1] if last_is_label else names, signatures)
    if wrong and say and not labelled and not misfit(names[:-1], signatures, whole=True):
        say(Words("label_left_out", path=path, name=names[-1]))
        wrong, names = "", names[:-1]
    if wrong:
        which = f"; the last array, {names[-1]}, is the label" if last_is_label and names else ""
        raise UserError(f"--inputs {path}: {wrong}{which}")
    if by_position:
        return [*(arrays[name] for name in names), *((label,) if parts else ())]
    return {name: arrays[name] for name in names} | ({"label": label} if parts else {})


def _with_lists(path: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays, those of dotted names as lists and dicts under what stands first."""
    found: dict[str, Any] = {}
    for name in arrays:
        base, dot, _ = name.partition(".")
        if not dot:
            found[name] = arrays[name]
        elif base in arrays:
            raise UserError(f"--inputs {path}: {base} is an array and holds {name}")
        elif base not in found:
            inside = {key: array for key, array in arrays.items() if key.startswith(f"{base}.")}
            found[base] = _listed(_tree(path, inside, f"{base}."))
    return found


def _listed(tree: Any) -> Any:
    """Return a tree with lists in place of tuples, as detectors take images."""
    if isinstance(tree, tuple):
        return [_listed(value) for value in tree]
    return {n: _listed(v) for n, v in tree.items()} if isinstance(tree, dict) else tree


_LABEL, NAMED = "label.", "label"


def _is_named_label(arrays: Mapping[str, Any]) -> bool:
    """Tell whether all arrays are numbered, arr_0, ..., but one that is called label."""
    others = [name for name in arrays if name != NAMED]
    return len(others) == len(arrays) - 1 > 0 and all(
        name.startswith("arr_") and _is_number(name[4:]) for name in others
    )


_noted: dict[str, list[tuple[float, str]]] = {}  # how likely at fault, and what it is


def noted(what: str) -> str:
    """Return what a file of --inputs holds as "label" or "inputs", "" where that is not known.

    Of several files the oddest. For messages: what a loss or a net raises may be the file's fault.
    """
    return max(_noted.get(what, [(0, "")]))[1]


def forget_noted() -> None:
    """Forget the files that were read before."""
    _noted.clear()


def _note(
    path: str, arrays: Sequence[tuple[str, Any]], label: Any, labelled: bool, nets: Mapping
) -> None:
    arrays = [(name, array) for name, array in arrays if labelled or name != NAMED]
    if labelled and label is None and arrays:
        arrays, label = arrays[:-1], arrays[-1][1]
    if isinstance(label, np.ndarray) and label.size and label.dtype.kind in "biuf":
        found = f"the label of {path} is {_described(label)}, values {label.min()} to {label.max()}"
        if label.dtype.kind == "f":
            found += "; where it holds classes, write label.astype(np.int64)"
        if not any(net is not None for net in nets.values()):
            first = ", ".join(_described(array) for _, array in arrays)
            found += (
                f"; without --torch and --paddle the arrays are outputs and label, so {first} was "
                "taken as outputs"
            )
        rank = math.inf if label.dtype.kind == "f" else float(label.max())
        _noted.setdefault("label", []).append((rank, found))
    plain = [(name, array) for name, array in arrays if isinstance(array, np.ndarray)]
    whole = [f"{name} is {_described(a)}" for name, a in plain if a.dtype.kind in "biu"]
    if whole:
        found = f"of {path} {', '.join(whole)}; of an image write .astype(np.float32)"
        _noted.setdefault("inputs", []).append((0, found))


def _described(array: Any) -> str:
    if not isinstance(array, np.ndarray):
        return f"a {type(array).__name__} of {len(array)}"
    return f"{array.dtype} {list(array.shape)}"


def _tree(path: str, arrays: Mapping[str, Any], prefix: str) -> Any:
    """Return the arrays, whose names begin with `prefix`, as a dict or a tuple of trees."""
    names = dict.fromkeys(name.removeprefix(prefix).partition(".")[0] for name in arrays)
    found: dict[str, Any] = {}
    for name in names:
        whole = prefix + name
        inside = {key: array for key, array in arrays.items() if key.startswith(f"{whole}.")}
        if (whole in arrays and inside) or not name:
            raise UserError(f"--inputs {path}: {whole} is an array and holds {', '.join(inside)}")
        found[name] = arrays[whole] if whole in arrays else _tree(path, inside, f"{whole}.")
    if not all(map(_is_number, found)):
        return found
    if sorted(map(int, found)) != list(range(len(found))):
        raise UserError(f"--inputs {path}: has {', '.join(arrays)}; {prefix}0 to the last one")
    return tuple(found[str(index)] for index in range(len(found)))


def _arrays_of(path: str) -> dict[str, np.ndarray]:
    try:
        arrays = read_arrays(Path(path))
    except UnreadableError as error:
        raise UserError(f"--inputs {error}") from None
    except (OSError, EOFError, BadZipFile) as error:
        raise UserError(f"--inputs {path}: cannot be read as arrays: {error}") from None
    except Exception:  # a damaged header raises anything; NumPy advises to let the file run code
        raise UserError(
            f"--inputs {path}: is no .npz or .npy of plain arrays; write it with "
            "np.savez(path, image, ...)"
        ) from None
    if not arrays:
        raise UserError(f"--inputs {path}: holds no array")
    for name in arrays:
        if len(name) > LONGEST:
            raise UserError(f"--inputs {path}: the name {name[:80]} has {len(name)} letters")
        if name.count(".") > DEEPEST:
            raise UserError(f"--inputs {path}: the name {name[:80]} is nested too deeply")
    return arrays


def _is_number(text: str) -> bool:
    """Tell whether a part of a name counts something."""
    return text.isascii() and text.isdecimal() and len(text) < 10


_OPEN = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Signature:
    """What `forward` of one side takes. known: False where it cannot be asked (TorchScript).

    places: parameters by position that take arrays; `scale=2.0` or `features=False` are settings.
    """

    def __init__(self, side: str, net: Any) -> None:
        self.side, self.is_reference = side, side == "reference"
        try:
            found = list(inspect.signature(net.forward).parameters.values())
            self.known = True
        except (TypeError, ValueError):
            found, self.known = [], False
        kinds = [parameter.kind for parameter in found]
        self.any_number, self.any_name = (kind in kinds for kind in _OPEN)
        closed = [one for one in found if one.kind not in _OPEN]
        empty = inspect.Parameter.empty
        taking = [one for one in closed if one.default is None or one.default is empty]
        keyword = inspect.Parameter.KEYWORD_ONLY
        self.places = [one.name for one in taking if one.kind is not keyword]
        self.arrays = [one.name for one in taking]
        self.names = [one.name for one in closed]
        self.required = [one.name for one in closed if one.default is empty]

    def __str__(self) -> str:
        return f"forward of the {self.side} takes {', '.join(self.names) or 'nothing'}"


def _misfit_by_position(
    names: Sequence[str], signatures: Sequence[Signature], whole: bool = False
) -> str:
    """Say why arrays by position are not the reference's, "" where they are.

    `whole`: it has no place free. What the port cannot take is a finding of the run.
    """
    for signature in (one for one in signatures if one.known and one.is_reference):
        count, places = len(names), signature.places
        missing = [name for name in signature.required if name not in places[:count]]
        held = f"has {count} array{'s' * (count != 1)} for the nets, but {signature}"
        if missing and not signature.any_number:
            return f"{held}; {missing[0]} is missing"
        if (count > len(places) and not signature.any_number) or (whole and count < len(places)):
            return f"{held}; {LABEL}"
    return ""


def _misfit_by_name(
    names: Sequence[str], signatures: Sequence[Signature], whole: bool = False
) -> str:
    """Say why arrays by keyword do not fit, "" where they do; `whole`: none is free."""
    for signature in (one for one in signatures if one.known):
        strange = [name for name in names if name not in signature.names]
        needed = signature.arrays if whole else signature.required
        missing = [name for name in needed if name not in names and signature.is_reference]
        if (strange and not signature.any_name) or missing:
            return (
                f"has {', '.join(names)}, but {signature}; name them so, or arr_0, arr_1, ... to "
                f"pass by position; {LABEL}"
            )
    return ""


def seeded_inputs(shapes: Sequence[Sequence[int]], seed: int) -> list[np.ndarray]:
    """Return one array of N(0, 1) for each shape; the first is `subjects.seeded_input`'s.

    Raises UserError for a shape with a size below 1.
    """
    for shape in shapes:
        if not shape or min(shape) < 1:
            raise UserError(f"--input-shape takes positive numbers, got {list(shape)}")
    return [seeded_input(tuple(shape), seed + index) for index, shape in enumerate(shapes)]


def seeded_detection(
    shapes: Sequence[Sequence[int]], count: int, seed: int, train: bool
) -> list[Any]:
    """Return what a detector is called with: a list of images, and in train mode their objects.

    Args:
        shapes: [C, H, W] of each image; its values are N(0, 1).
        count: objects of an image: boxes float64 [count, 4] (x0, y0, x1, y1 in pixels, at least 2
            wide and high), labels int64 [count], 1 or 2, masks uint8 [count, H, W], which fill
            their boxes.

    Raises UserError for a shape that is none, and for an image without room for a box.
    """
    for shape in shapes:
        if len(shape) != 3 or shape[0] < 1 or min(shape[1:]) < 4:
            raise UserError(
                f"--objects takes --input-shape C H W of each image, 4 pixels or more, got {shape}"
            )
    images = seeded_inputs(shapes, seed)
    targets = [
        _objects(shape[1], shape[2], count, np.random.default_rng([seed, index]))
        for index, shape in enumerate(shapes)
    ]
    return [images, targets] if train else [images]


def _objects(height: int, width: int, count: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return `count` objects of an image."""
    boxes = np.empty((count, 4))
    for first, size in ((0, width), (1, height)):
        low = rng.integers(0, size - 2, count)
        boxes[:, first], boxes[:, first + 2] = low, rng.integers(low + 2, size + 1)
    masks = np.zeros((count, height, width), np.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int), strict=True):
        mask[y0:y1, x0:x1] = 1
    return {"boxes": boxes, "labels": rng.integers(1, 3, count), "masks": masks}


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
    """Return an input of `shape`, float64 of N(0, 1), as a normalised image is."""
    return np.random.default_rng(seed).standard_normal(shape)


def check_input_shape(
    shape: tuple[int, ...], default: tuple[int, ...], train: bool
) -> tuple[int, ...]:
    """Return `shape` where a net can run it; UserError says what is wrong.

    It is [N, C, H, W], and [N, C, D, H, W] of a net of volumes, as its `default` input is. A net
    whose default is one image has no BatchNorm over a 1x1 map.
    """
    volume, channels = len(default) == 5, default[1]
    if volume and (len(shape) != 5 or min(shape) < 1):
        raise UserError(f"--input-shape takes five positive numbers N C D H W, got {list(shape)}")
    if not volume and (len(shape) != 4 or min(shape) < 1):
        raise UserError(f"--input-shape takes four positive numbers N C H W, got {list(shape)}")
    if shape[1] != channels:
        raise UserError(f"the net takes {channels} channels, --input-shape has {shape[1]}")
    if train and shape[0] < min(default[0], 2):
        raise UserError(
            "train mode needs a batch of at least 2: BatchNorm over a 1x1 map has a single value "
            f"per channel otherwise; got --input-shape {' '.join(map(str, shape))}"
        )
    return shape
