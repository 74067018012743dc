"""Anybody's two nets, as the commands get them: `module:callable`, a checkpoint, arrays."""

import importlib
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from align.batch import Inputs
from align.subjects import load_state, seeded_input
from common.errors import ConversionError, UserError

_OURS = Path(__file__).resolve().parent.parent
_ROOMS = ("align", "convert", "common", "tools", "torch_ref", "paddle_impl", ".venv")


def load_callable(spec: str, option: str) -> Callable[..., Any]:
    """Return what `spec`, "package.module:name", names; the current folder is on the path.

    `option` is what the user called it, for messages. Raises UserError.
    """
    module, _, name = spec.partition(":")
    if not module or not name:
        raise UserError(f"{option} {spec}: expected MODULE:CALLABLE, as in my_pkg.nets:build")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(1, str(Path.cwd()))  # after the checkout, whose packages it may not hide
    try:
        found = importlib.import_module(module)
    except Exception as error:
        raise UserError(f"{option} {spec}: cannot import {module}: {told(error)}") from error
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        names = [n for n, value in vars(found).items() if callable(value) and n[0] != "_"]
        raise UserError(
            f"{option} {spec}: {module} has no {name}; it has {', '.join(names[:12])}"
        ) from None
    if not callable(found):
        raise UserError(f"{option} {spec}: is a {type(found).__name__}, expected a callable")
    return found


def build(spec: str, option: str, base: type, arguments: Mapping[str, Any] | None = None) -> Any:
    """Call what `spec` names and return the net; UserError where that is no `base`."""
    made = called(load_callable(spec, option), f"{option} {spec}", arguments)
    if not isinstance(made, base):
        raise UserError(
            f"{option} {spec}: returned {type(made).__module__}.{type(made).__qualname__}, "
            f"expected a {base.__module__}.{base.__qualname__}"
        )
    return made


def called(function: Callable[..., Any], what: str, arguments: Mapping[str, Any] | None) -> Any:
    """Call a user's function; what it raises is a UserError."""
    try:
        return function(**(arguments or {}))
    except Exception as error:
        raise UserError(f"{what}: {told(error)}") from error


def criterion(spec: str, option: str, base: type) -> Any:
    """Return a loss: a function as it is, of a class of `base` an instance."""
    found = load_callable(spec, option)
    if isinstance(found, type) and issubclass(found, base):
        return called(found, f"{option} {spec}", None)
    return found


def told(error: BaseException) -> str:
    """Say an error of a user's code in one line, with its file and line."""
    last = (str(error).strip().splitlines() or [""])[-1 if "\n\n" in str(error) else 0]
    place = user_frame(error)
    where = f" ({place.filename}:{place.lineno}, in {place.name})" if place else ""
    return f"{type(error).__name__}: {last}{where}"


def user_frame(error: BaseException) -> traceback.FrameSummary | None:
    """Return the innermost frame that is neither this program's nor a library's."""
    libraries = {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}
    ours = tuple(str(_OURS / room) for room in _ROOMS)
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if not frame.filename.startswith(("<", *ours, *(str(path) for path in libraries)))
    ]
    return own[-1] if own else None


def own_pair(
    torch_spec: str,
    paddle_spec: str,
    *,
    weights: str | None = None,
    rules: Any = None,
    seed: int = 0,
    torch_args: Mapping[str, Any] | None = None,
    paddle_args: Mapping[str, Any] | None = None,
) -> tuple[Any, Any]:
    """Return (torch net, Paddle net) with the same weights, every tensor accounted for.

    Args:
        torch_spec, paddle_spec: "module:callable"; called with `torch_args`, `paddle_args`.
        weights: a PyTorch checkpoint for the reference; else its own first weights, from `seed`.
        rules: a rules file, where the port calls things otherwise.

    Raises:
        UserError: a callable fails or returns no net. UnreadableError: of the checkpoint.
        ConversionError: the weights do not fit; the message has a proposal where names differ.
    """
    torch_net, paddle_net = build_pair(torch_spec, paddle_spec, seed, torch_args, paddle_args)
    if weights is not None:
        fill_reference(torch_net, weights, torch_spec)
    fill_port(torch_net, paddle_net, rules)
    return torch_net, paddle_net


def build_pair(
    torch_spec: str,
    paddle_spec: str,
    seed: int = 0,
    torch_args: Mapping[str, Any] | None = None,
    paddle_args: Mapping[str, Any] | None = None,
) -> tuple[Any, Any]:
    """Return both nets as their callables make them."""
    import paddle

    torch_net = build_reference(torch_spec, seed, torch_args)
    return torch_net, build(paddle_spec, "--paddle", paddle.nn.Layer, paddle_args)


def build_reference(spec: str, seed: int, arguments: Mapping[str, Any] | None = None) -> Any:
    """Return the reference with its own first weights, from `seed`."""
    import torch

    torch.manual_seed(seed)
    return build(spec, "--torch", torch.nn.Module, arguments)


def fill_reference(torch_net: Any, path: str, spec: str) -> None:
    """Load a checkpoint, strictly; no code of the file is run.

    Raises ConversionError where it does not fit, naming the first tensors.
    """
    from align.arrays_torch import to_tensor
    from convert import read_checkpoint

    checkpoint = read_checkpoint(path)
    state = {key: to_tensor(array) for key, array in checkpoint.items()}
    try:
        torch_net.load_state_dict(state, strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
        listed = "\n  ".join(line[:300] for line in lines)
        raise ConversionError(f"{path} does not fit --torch {spec}:\n  {listed}") from None


def fill_port(torch_net: Any, paddle_net: Any, rules: Any = None) -> None:
    """Convert the reference's present state into the port, in memory.

    Raises ConversionError; where names differ and there are no rules, with a proposal.
    """
    from align.own_lists_paddle import plain_holders
    from align.reference import reference_of
    from convert import convert_state

    try:
        state = convert_state(reference_of(torch_net).arrays(), paddle_net, rules).state
    except ConversionError as error:
        hidden = list(plain_holders(paddle_net))
        if hidden:
            raise ConversionError("\n".join([*hidden, f"So {error}"])) from None
        if rules is not None:
            raise
        raise ConversionError(f"{error}\n{_proposed(torch_net, paddle_net)}") from None
    own = paddle_net.state_dict()
    dtypes = {key: str(own[key].dtype).removeprefix("paddle.") for key in state}
    cast = {key: array.astype(dtypes[key], copy=False) for key, array in state.items()}
    load_state(paddle_net, {k: np.asarray(a, order="C") for k, a in cast.items()})


def proposal(torch_net: Any, paddle_net: Any, rules: Any = None) -> Any:
    """Return `convert.propose`'s proposal for two live nets; nothing is adopted."""
    from align.reference import reference_of
    from convert.describe_paddle import describe as describe_port
    from convert.propose import propose
    from convert.rules import load_rules

    return propose(reference_of(torch_net).specs(), describe_port(paddle_net), load_rules(rules))


def _proposed(torch_net: Any, paddle_net: Any) -> str:
    found = proposal(torch_net, paddle_net)
    text = "".join(f"    {line}\n" for line in found.to_yaml().splitlines())
    return (
        "Where only the names differ, a rules file says which is which. Proposed, not adopted:\n"
        f"{text}The same command with --propose rules.yml writes this file; read it, correct it, "
        "and give it as --rules rules.yml (its format: docs/rules.md)"
    )


def without_partner(torch_net: Any, paddle_net: Any, rules: Any = None) -> list[str]:
    """Say which modules have no partner by path: they are judged as glue."""
    from align.forced import paired
    from align.layers_paddle import layer_paths
    from align.reference import reference_of

    pairing = paired(torch_net, paddle_net, rules)
    sides = (
        ("reference", reference_of(torch_net).paths, pairing.reference_group),
        ("port", layer_paths(paddle_net), pairing.port_group),
    )
    notes = []
    for side, paths, group in sides:
        alone = [path for path in paths if path not in group]
        more = f" and {len(alone) - 6} more" if len(alone) > 6 else ""
        if alone:
            notes.append(
                f"{len(alone)} modules of the {side} have no partner and are judged as parts of "
                f"the layers around them: {', '.join(alone[:6])}{more}"
            )
    return notes


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


def outputs_of(torch_net: Any, inputs: Inputs) -> tuple[Any, np.ndarray]:
    """Return (outputs of the reference in train mode, label) for inputs that end with a label."""
    import torch

    from align.arrays_torch import is_tensor, to_array, to_tensor
    from align.batch import as_batch
    from align.prepare_torch import prepared
    from align.trees import map_leaves

    batch = as_batch(inputs, "float64", labelled=True)
    args, kwargs = map_leaves((batch.args, dict(batch.kwargs)), to_tensor)
    settings: Any = {"dtype": torch.float64, "train": True, "float32_constants": set()}
    with torch.no_grad(), prepared(torch_net, **settings):
        outputs = torch_net(*args, **kwargs)
    assert batch.label is not None
    arrays = map_leaves(outputs, lambda leaf: to_array(leaf) if is_tensor(leaf) else leaf)
    return arrays, batch.label
