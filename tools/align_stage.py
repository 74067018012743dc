"""Climb one rung of the ladder: weights, init, loss, data, metric or step of a config.

Of nets of your own: weights, init, loss and step. `judge` judges a stored trace again.
"""

from pathlib import Path
from typing import Any

import _checkout  # noqa: F401 - the checkout onto the path

from commands import trace
from commands.align_nets import batches, factories, losses, optimizers
from commands.align_options import add_optimizers, arguments, is_own, parse
from commands.align_run import align_each
from commands.guard import run_guarded

STAGES = ("weights", "init", "loss", "data", "metric", "step", "judge")
EXAMPLE = """python tools/align_stage.py loss configs/stdc1_toy.yml
  python tools/align_stage.py weights --torch my_pkg.nets:build --paddle my_port.nets:build
  python tools/align_stage.py loss --torch-loss my_pkg:loss --paddle-loss my_port:loss \\
      --inputs outputs_and_label.npz
  python tools/align_stage.py judge trace"""


def main() -> int:
    """Align one stage of one config, or of one's own nets."""
    command = arguments(__doc__ or "", EXAMPLE, table=False, losses=True)
    add_optimizers(command)
    command.add_argument("stage", choices=STAGES)
    command.add_argument(
        "config", type=Path, nargs="?", help="a file of configs/; for judge: a stored trace"
    )
    command.add_argument("overrides", nargs="*", metavar="key.sub=value")
    options = parse(command)
    if options.stage == "judge":
        if options.config is None or is_own(options):
            command.error("judge takes the folder of a stored trace, and no nets")
        return trace.judge(options)
    if is_own(options):
        return own_stage(options)
    if options.stage == "loss" and options.torch_loss and options.config is None:
        return own_loss(options)
    if options.config is None:
        command.error("give a config, or nets of your own")
    from align import align_weights
    from commands.reproduce.recipe import Recipe

    recipe = Recipe(options.config, tuple(options.overrides))
    options.model = recipe.settings.model.name

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        if options.stage == "weights":
            return align_weights(torch_net, paddle_net)
        run_stage = getattr(recipe, f"align_{options.stage}")
        takes = {"loss": (torch_net,), "metric": (torch_net,), "step": (torch_net, paddle_net)}
        return run_stage(*takes.get(options.stage, ()))

    overrides = recipe.settings.model.overrides
    return align_each(options, options.stage, options.stage, align, overrides)


def own_stage(options: Any) -> int:
    """Align a stage of the user's own nets."""
    from common.errors import UserError

    if options.stage in ("data", "metric"):
        raise UserError(
            f"the {options.stage} stage needs a config; call align.align_{options.stage} on "
            "batches of your own"
        )

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        import align

        if options.stage == "weights":
            return align.align_weights(torch_net, paddle_net, rules=options.rules)
        if options.stage == "init":
            return align.align_init(*factories(options), rules=options.rules)
        if options.stage == "loss":
            return own_loss_of_net(options, torch_net)
        both = optimizers(options)
        batch = batches(options, torch_net, paddle_net)[0]
        return align.align_step(
            torch_net, paddle_net, batch, *losses(options), *both, rules=options.rules
        )

    return align_each(options, options.stage, options.stage, align)


def own_loss_of_net(options: Any, torch_net: Any) -> Any:
    """Align a loss on the outputs of the reference in train mode."""
    from align import align_loss
    from commands.subjects.inputs import outputs_of
    from common.errors import UserError

    if not options.torch_loss:
        raise UserError("the loss stage needs --torch-loss and --paddle-loss")
    outputs, label = outputs_of(torch_net, batches(options, torch_net, None)[0])
    return align_loss(*losses(options), [outputs, label])


def own_loss(options: Any) -> int:
    """Align a loss alone, on the arrays given."""
    from align import align_loss

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        arrays = batches(options, None, None)[0]
        values = list(arrays.values()) if isinstance(arrays, dict) else arrays
        return align_loss(*losses(options), values)

    return align_each(options, "loss", "loss", align, pair=False)


if __name__ == "__main__":
    run_guarded(main)
