"""Trained weights into the net of a config, all of them: for what runs a net and trains nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from commands.subjects.misfits import misfits_advised, of_config
from commands.subjects.named.config import latest_config
from commands.subjects.named.pair import OwnPair
from commands.subjects.named.parts import Parts
from common.errors import ConversionError, UserError
from common.settings.own import OwnModel
from common.settings.run import Settings
from common.words.language import phrase, said
from common.words.typed import command


@dataclass(frozen=True)
class Loaded:
    """What became of a file of weights.

    told: of a conversion, in one line, else "". totals: how many tensors became what; of a file
    that was taken as it is, none. left: tensors of the net that the file has not, and need not.
    """

    told: str = ""
    totals: dict[str, int] | None = None
    left: tuple[str, ...] = ()


def load_weights(parts: Parts, net: Any, path: Path) -> Loaded:
    """Fill `net`, of `parts`, with a file: of its own framework, or in Paddle of either.

    Of a file of several nets that which `weights.key` names, where `weights.path` is that file.

    Raises:
        UnreadableError, UserError: absent, unreadable, or of Paddle where the net is torch's.
        ConversionError: it does not fit the net, with which tensors.
    """
    if parts.framework == "torch":
        return _into_torch(parts.settings, net, path)
    return _into_paddle(parts, net, path)


def _into_torch(settings: Settings, net: Any, path: Path) -> Loaded:
    from convert import read_checkpoint
    from torch_ref.train import load_arrays

    key = _key(settings, path)
    checkpoint = read_checkpoint(path, key)
    if checkpoint.framework != "torch" or path.suffix == ".pdparams":
        raise UserError(
            f"{path}: weights of Paddle; --framework torch runs the reference, which takes "
            f"PyTorch's own ({command('convert_weights', '--help')} tells the way back)"
        )
    model = settings.model
    if isinstance(model, OwnModel):
        from commands.subjects.own import fill_reference

        fill_reference(net, str(path), f"model.torch {model.torch}", key)
        return Loaded()
    if model.narrow:
        load_arrays(net, checkpoint)
        return Loaded()
    from common.pairs import get_pair
    from convert.conversion import rules_for
    from convert.nets.recognise import recognise
    from convert.verify.run_torch import reference_state

    recognise(checkpoint.shapes, model.name, model.net_classes)
    rules = rules_for(get_pair(model.name), None)
    net.load_state_dict(reference_state(net, checkpoint, rules), strict=True)
    return Loaded()


def _into_paddle(parts: Parts, net: Any, path: Path) -> Loaded:
    from convert import convert_checkpoint, read_checkpoint
    from convert.outputs import left_at_initialisation
    from paddle_impl.train import load_arrays

    key = _key(parts.settings, path)
    model, checkpoint = parts.settings.model, read_checkpoint(path, key)
    own, ours = isinstance(model, OwnModel), checkpoint.framework == "paddle"
    if ours and (own or set(checkpoint) <= set(net.state_dict())):
        left = left_at_initialisation(path)
        load_arrays(net, checkpoint, left=left)
        _require_dead(parts, net, path, left)
        return Loaded(left=tuple(left))
    if ours and not own:  # of another toolkit, which the table knows
        count = model.net_classes
        made = convert_checkpoint(path, model=model.name, num_classes=count, key=key)
    elif isinstance(model, OwnModel):
        with misfits_advised(of_config(latest_config(), model.name, model.rules)):
            made = convert_checkpoint(path, model=net, rules=_rules(parts, model, net), key=key)
    else:
        made = convert_checkpoint(path, model=net, key=key)
    left = made.account.left_at_initialisation
    load_arrays(net, made.state, left=left)
    _require_dead(parts, net, path, left)
    return Loaded(_told(made, path), made.account.totals, tuple(left))


def _key(settings: Settings, path: Path) -> str | None:
    return settings.weights.key if str(path) == settings.weights.path else None


def _told(made: Any, path: Path) -> str:
    """Say in one line what a conversion filled, and what it left out and why."""
    account = made.account
    counts = {"count": len(made.state), "total": len(account.target_tensors), "path": path}
    parts = [phrase("{count} of {total} tensors from {path}, converted", **counts)]
    if left := account.left_at_initialisation:
        parts.append(phrase("left at initialisation: {keys}", keys=first_of(left)))
    for reason, keys in account.dropped_by_reason.items():
        values = {"count": len(keys), "keys": first_of(keys, 1), "reason": said(reason)}
        parts.append(phrase("{count} not taken, as {keys}: {reason}", **values))
    return "; ".join(parts)


def first_of(keys: Sequence[str], most: int = 3) -> str:
    """Name the first of some keys, and how many more there are."""
    more = f" (+{len(keys) - most})" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more


def _require_dead(parts: Parts, net: Any, path: Path, left: Sequence[str]) -> None:
    """Raise ConversionError where the net's answer depends on tensors that no file filled.

    It is asked twice, with other values in them the second time.
    """
    if not left:
        return
    from paddle_impl.train import PaddleInference, load_arrays, read_arrays

    _, channels, *size = parts.settings.reproduce.fast_shape
    rng = np.random.default_rng(0)
    image = rng.standard_normal((1, channels, *size)).astype(np.float32)
    own, seen = read_arrays(net), (size[0], size[1])
    before = PaddleInference(net).probabilities(image, seen, False)
    changed = {key: own[key] + rng.random(own[key].shape).astype(own[key].dtype) for key in left}
    load_arrays(net, {**own, **changed})
    after = PaddleInference(net).probabilities(image, seen, False)
    load_arrays(net, own)
    if not np.array_equal(before, after):
        raise ConversionError(
            f"{path} does not hold {first_of(left)}, and what {parts.settings.model.name} "
            "predicts depends on them: train it from this file first, or give the weights of the "
            "whole net"
        )


def _rules(parts: Parts, model: OwnModel, net: Any) -> Any:
    """Return the rules of a net of the user's own."""
    from commands.subjects.named.frameworks import parts_of

    reference = parts_of(parts.settings, "torch") if model.torch and _has_torch() else parts
    return OwnPair(parts.settings, (reference, parts)).rules_for(net)


def _has_torch() -> bool:
    from importlib.util import find_spec

    return find_spec("torch") is not None
