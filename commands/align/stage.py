"""The flow of `align_stage`: one rung of a config, of one's own nets, or of a stored trace."""

import argparse
from pathlib import Path
from typing import Any

from commands.align import halves
from commands.align.options import is_own
from commands.align.run import align_each
from commands.align.rungs import RUNGS, STAGES, RungRow

# Stages that run on arrays of --inputs without any net.
WITHOUT_NETS = tuple(name for name in STAGES if RUNGS[name].of_arrays)


def add_stage(command: argparse.ArgumentParser) -> None:
    """Add which stage, and of what."""
    command.add_argument("stage", choices=STAGES)
    command.add_argument(
        "config", type=Path, nargs="?", help="a file of configs/; for judge: a stored trace"
    )
    command.add_argument("overrides", nargs="*", metavar="key.sub=value")


def run_stage(command: argparse.ArgumentParser, options: Any) -> int:
    """Climb the rung that the options name; return the exit code."""
    rung = RUNGS[options.stage]
    if rung.of_trace is not None:
        if options.config is None or is_own(options):
            command.error(f"{rung.name} takes the folder of a stored trace, and no nets")
        return halves.judge_again(options, rung.of_trace)
    if is_own(options):
        return _run_own(options, rung)
    of_arrays = rung.of_arrays
    if of_arrays is not None and options.torch_loss and options.config is None:
        return align_each(options, rung.name, rung.name, lambda *_: of_arrays(options), pair=False)
    if options.config is None:
        command.error("give a config, or nets of your own")
    return _run_recipe(options, rung)


def _run_own(options: Any, rung: RungRow) -> int:
    from common.errors import UserError

    of_own_nets = rung.of_own_nets
    if of_own_nets is None:
        raise UserError(
            f"the {rung.name} stage needs a config; call align.{rung.verb} on batches of your own"
        )

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        return of_own_nets(options, torch_net, paddle_net)

    return align_each(options, rung.name, rung.name, align)


def _run_recipe(options: Any, rung: RungRow) -> int:
    from commands.subjects.recipe import Recipe

    recipe, of_recipe = Recipe(options.config, tuple(options.overrides)), rung.of_recipe
    options.model = recipe.settings.model.name
    assert of_recipe is not None  # a rung of a trace alone is gone by now

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        return of_recipe(recipe, torch_net, paddle_net)

    return align_each(options, rung.name, rung.name, align, recipe.settings.model.overrides)
