"""The weights that a training starts from: the net's own, or those of another net, converted."""

from pathlib import Path
from typing import Any

from common.errors import ConversionError, UserError


def initialised(settings: Any, net: Any, framework: str) -> dict[str, Any] | None:
    """Load the weights that `settings` name into `net`; return the account of a conversion.

    None: there are no weights to load, or they are the net's own. `framework`: "torch" or "paddle".
    """
    if not settings.weights.path:
        return None
    load_arrays = _load_arrays(framework)
    if settings.weights.new_head:
        made = with_new_head(settings, net, framework)
        load_arrays(net, made.state, left=made.account.left_at_initialisation)
        return account_of(made, settings)
    try:
        return _filled(settings, net, framework, load_arrays)
    except ConversionError as error:
        hint = _hint_of_head(settings, net, framework)
        raise ConversionError(f"{error}{hint}") from None


def with_new_head(settings: Any, net: Any, framework: str) -> Any:
    """Return the conversion of the starting weights that leaves the head as it is.

    Raises what reading the file raises, and ConversionError where it does not fit otherwise.
    """
    from common.settings.own import OwnModel
    from convert.starting_weights import own_with_new_head, starting_weights

    weights, model = settings.weights, settings.model
    target = _describe(framework)(net)
    if isinstance(model, OwnModel):
        place = {"rules": model.rules, "key": weights.key}
        return own_with_new_head(weights.path, target, framework, model.num_classes, **place)
    options = {"row": weights.row or model.name, "key": weights.key, "new_head": model.overrides}
    return starting_weights(weights.path, model.name, target, framework, **options)


def _hint_of_head(settings: Any, net: Any, framework: str) -> str:
    """Say what starts the run where the head alone does not fit; empty where more does not."""
    if settings.weights.into:
        return ""
    try:
        made = with_new_head(settings, net, framework)
    except UserError:
        return ""
    from convert.starting_weights import HEAD_REASON

    left, same = made.account.left_at_initialisation, settings.model.net_classes
    if HEAD_REASON.format(total=same) in made.account.dropped_by_reason:
        return ""  # it is not the number of classes
    return (
        "\nAll of it fits but the head, which has another number of classes in the file: "
        f"weights.new_head=true starts with that at its initialisation "
        f"({', '.join(left)})"
    )


def _filled(settings: Any, net: Any, framework: str, load_arrays: Any) -> dict[str, Any] | None:
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
        made = convert_checkpoint(path, model=model.name, num_classes=model.net_classes, key=key)
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

    place = {"row": weights.row, "into": weights.into, "key": weights.key}
    target = _describe(framework)(net)
    return starting_weights(weights.path, model, target, framework, **place)


def _describe(framework: str) -> Any:
    """Return the function that lists the tensors of a net."""
    if framework == "torch":
        from convert.nets.describe_torch import describe as of_torch

        return of_torch
    from convert.nets.describe_paddle import describe as of_paddle

    return of_paddle


def account_of(begun: Any, settings: Any) -> dict[str, Any]:
    """Return the account of `begin` as plain values, with one line that tells it."""
    from convert.starting_weights import told

    return {"told": told(begun, settings.weights.path), **begun.account.to_dict()}
