"""Show that training steps of a recipe are those of its PyTorch reference, each judged alone."""

from pathlib import Path
from typing import Any

import _checkout  # noqa: F401 - the checkout onto the path

from commands.align_nets import batches, losses, optimizers
from commands.align_options import add_optimizers, arguments, is_own, parse
from commands.align_run import align_each
from commands.entry import positive
from commands.guard import run_guarded

EXAMPLE = """python tools/align_training.py configs/stdc1_toy.yml --steps 5
  python tools/align_training.py --torch my_pkg.nets:build --paddle my_port.nets:build \\
      --torch-loss my_pkg.nets:loss --paddle-loss my_port.nets:loss \\
      --torch-optimizer my_pkg.nets:optimizer --paddle-optimizer my_port.nets:optimizer \\
      --inputs step0.npz step1.npz"""


def main() -> int:
    """Align forced training steps of one config, or of one's own nets: a file a step."""
    command = arguments(__doc__ or "", EXAMPLE, table=False, losses=True)
    add_optimizers(command)
    command.add_argument("config", type=Path, nargs="?", help="a file of configs/")
    command.add_argument("overrides", nargs="*", metavar="key.sub=value")
    command.add_argument(
        "--steps", type=positive, help="default: reproduce.training_steps, or all files"
    )
    command.add_argument(
        "--export-npy", metavar="DIR", help="write losses and rates of both sides as reprod_log"
    )
    options = parse(command)
    if is_own(options):
        return align_each(options, "training", "training", exported(options))
    if options.config is None:
        command.error("give a config, or nets of your own")
    from commands.reproduce.recipe import Recipe

    recipe = Recipe(options.config, tuple(options.overrides))
    options.model = recipe.settings.model.name

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        return recipe.align_training(torch_net, paddle_net, options.steps)

    overrides = recipe.settings.model.overrides
    whole = exported(options, align)
    return align_each(options, "training", "training", whole, overrides)


def exported(options: Any, align: Any = None) -> Any:
    """Return `align`, or that of the user's own nets, which also writes what --export-npy asks."""
    align = align or own_steps(options)

    def and_export(torch_net: Any, paddle_net: Any, name: str) -> Any:
        report = align(torch_net, paddle_net, name)
        if options.export_npy:
            from commands.reproduce.reprod_log import export_scalars

            written = export_scalars(options.export_npy, report)
            report.notes.append(f"written: {', '.join(map(str, written))}")
        return report

    return and_export


def own_steps(options: Any) -> Any:
    """Return what aligns the steps of the user's own nets."""

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        from align import align_training

        both = optimizers(options)
        steps = batches(options, torch_net, paddle_net)[: options.steps]
        criteria = losses(options)
        return align_training(torch_net, paddle_net, steps, *criteria, *both, rules=options.rules)

    return align


if __name__ == "__main__":
    run_guarded(main)
