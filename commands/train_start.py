"""The weights that a training starts from: the net's own, or those of another net, converted."""

from pathlib import Path
from typing import Any

from common.errors import ConversionError


def initialised(settings: Any, net: Any, framework: str) -> dict[str, Any] | None:
    """Load the weights that `settings` name into `net`; return the account of a conversion.

    None: there are no weights to load, or they are the net's own. `framework`: "torch" or "paddle".
    """
    if not settings.weights.path:
        return None
    load_arrays = _load_arrays(framework)
    if begun := begin(settings, net, framework):
        load_arrays(net, begun.state, left=begun.account.left_at_initialisation)
        return account_of(begun, settings)
    if framework == "torch":
        load_arrays(net, read_torch_weights(settings), settings.weights.into)
        return None
    arrays, left = read_paddle_weights(settings, net)
    load_arrays(net, arrays, settings.weights.into, left=left)
    if not left:
        return None
    line = f"weights: {len(arrays)} tensors from {settings.weights.path}"
    return {"told": f"{line}; left at initialisation: {', '.join(left)}", "left": left}


def _load_arrays(framework: str) -> Any:
    if framework == "torch":
        from torch_ref.train import load_arrays as into_torch

        return into_torch
    from paddle_impl.train import load_arrays as into_paddle

    return into_paddle


def read_torch_weights(settings: Any) -> Any:
    """Return the starting weights in the net's names; UserError where they are Paddle's."""
    from common.errors import UserError
    from convert import read_checkpoint

    path = settings.weights.path
    if path.endswith(".pdparams"):
        raise UserError(f"{path}: weights of Paddle; train_torch starts from PyTorch's own")
    return read_checkpoint(path, settings.weights.key)


def read_paddle_weights(settings: Any, net: Any) -> tuple[Any, list[str]]:
    """Return (starting weights in Paddle's names, tensors that they leave at initialisation).

    Those in PyTorch's names, or in those of another toolkit that the table knows, are converted.
    What a converted file leaves, its account says, which stands beside it.
    """
    from common.settings.own import OwnModel
    from convert import convert_checkpoint, read_checkpoint
    from convert.outputs import left_at_initialisation

    path, key, model = settings.weights.path, settings.weights.key, settings.model
    own = isinstance(model, OwnModel)
    arrays = read_checkpoint(path, key)
    if not path.endswith(".pdparams") and not any(name.endswith("._mean") for name in arrays):
        rules = model.rules if own else None
        return convert_checkpoint(path, model=net, rules=rules, key=key).state, []
    if settings.weights.into:
        return arrays, []
    if own or set(arrays) <= set(net.state_dict()):
        return arrays, left_at_initialisation(Path(path))
    try:
        made = convert_checkpoint(path, model=model.name, num_classes=model.num_classes, key=key)
    except ConversionError:
        return arrays, []  # the net refuses them, by name
    return made.state, made.account.left_at_initialisation


def begin(settings: Any, net: Any, framework: str) -> Any:
    """Return the conversion of another net's weights to start from; None: they are the net's own.

    A .pdparams without a row is the net's own, or of its part `into` under its whole names.
    """
    weights, model = settings.weights, settings.model.name
    another = weights.row not in (None, model)
    if not another and not (weights.into and not weights.path.endswith(".pdparams")):
        return None
    from convert.starting_weights import starting_weights

    if framework == "torch":
        from convert.nets.describe_torch import describe
    else:
        from convert.nets.describe_paddle import describe
    place = {"row": weights.row, "into": weights.into, "key": weights.key}
    return starting_weights(weights.path, model, describe(net), framework, **place)


def account_of(begun: Any, settings: Any) -> dict[str, Any]:
    """Return the account of `begin` as plain values, with one line that tells it."""
    from convert.starting_weights import told

    return {"told": told(begun, settings.weights.path), **begun.account.to_dict()}
