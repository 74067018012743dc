"""How rungs are climbed by anybody's two nets: (options, torch net, Paddle net) -> Report."""

from typing import TYPE_CHECKING, Any

from commands.align import nets
from common.errors import UserError

if TYPE_CHECKING:
    from align import Report


def align_weights(options: Any, torch_net: Any, paddle_net: Any) -> "Report":
    """Align the weights that both nets hold."""
    import align

    return align.align_weights(torch_net, paddle_net, rules=options.rules)


def align_init(options: Any, torch_net: Any, paddle_net: Any) -> "Report":
    """Align the distributions of freshly built nets."""
    import align

    return align.align_init(*nets.factories(options), rules=options.rules)


def align_loss(options: Any, torch_net: Any, paddle_net: Any) -> "Report":
    """Align a loss on the outputs of the reference in train mode; UserError without a loss."""
    import align
    from commands.subjects.outputs_torch import outputs_of

    if not options.torch_loss:
        raise UserError("the loss stage needs --torch-loss and --paddle-loss")
    outputs, label = outputs_of(torch_net, nets.batches(options, torch_net, None)[0])
    return align.align_loss(*nets.losses(options), [outputs, label], rules=options.rules)


def align_loss_on_arrays(options: Any) -> "Report":
    """Align a loss alone, on the arrays given."""
    import align

    arrays = nets.batches(options, None, None)[0]
    values = list(arrays.values()) if isinstance(arrays, dict) else arrays
    return align.align_loss(*nets.losses(options), values, rules=options.rules)


def align_step(options: Any, torch_net: Any, paddle_net: Any) -> "Report":
    """Align one training step, on the first file of --inputs."""
    import align

    losses = nets.losses(options)
    optimizers = nets.optimizers(options, torch_net, paddle_net, losses)
    batch = nets.batches(options, torch_net, paddle_net)[0]
    more = {"rules": options.rules, **nets.averages(options)}
    return align.align_step(torch_net, paddle_net, batch, *losses, *optimizers, **more)


def align_training(options: Any, torch_net: Any, paddle_net: Any) -> "Report":
    """Align training steps: a file of --inputs a step."""
    steps = nets.batches(options, torch_net, paddle_net)[: options.steps]
    return _align_steps(options, torch_net, paddle_net, steps)


def align_rounds(options: Any, torch_net: Any, paddle_net: Any, rounds: int) -> "Report":
    """Align `rounds` training steps on the first file of --inputs."""
    batch = nets.batches(options, torch_net, paddle_net)[0]
    return _align_steps(options, torch_net, paddle_net, [batch] * rounds)


def _align_steps(options: Any, torch_net: Any, paddle_net: Any, steps: list[Any]) -> "Report":
    import align

    losses = nets.losses(options)
    optimizers = nets.optimizers(options, torch_net, paddle_net, losses)
    made = (*losses, *optimizers, *nets.schedules(options))
    more = {"rules": options.rules, **nets.averages(options)}
    return align.align_training(torch_net, paddle_net, steps, *made, **more)
