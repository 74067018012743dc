"""The flow of `align_stage`: one rung of a config, of one's own nets, or of a stored trace."""

import argparse
from pathlib import Path
from typing import Any

from align.judge.words import Words
from commands.align import halves, own_nets, reprod_log
from commands.align.nets import recipe_of
from commands.align.options import is_own
from commands.align.reprod_log import GRADED_ROUNDS
from commands.align.run import align_each
from commands.align.rungs import RUNGS, STAGES, RungRow
from commands.align.training import with_steps

# Stages that run on arrays of --inputs without any net.
WITHOUT_NETS = tuple(name for name in STAGES if RUNGS[name].of_arrays)
EXPORTED = ("data", "metric", "loss", "step")  # the guide's checkpoints among them


def add_stage(command: argparse.ArgumentParser) -> None:
    """Add which stage, and of what."""
    command.add_argument("stage", choices=STAGES)
    command.add_argument(
        "config", type=Path, nargs="?", help="a file of configs/; for judge: a stored trace"
    )
    command.add_argument("overrides", nargs="*", metavar="key.sub=value")
    command.add_argument(
        "--export-npy",
        metavar="DIR",
        help="write what graders of the reproduction guide read of data, metric, loss or step",
    )


def run_stage(command: argparse.ArgumentParser, options: Any) -> int:
    """Climb the rung that the options name; return the exit code."""
    rung = RUNGS[options.stage]
    if options.export_npy and rung.name not in EXPORTED:
        command.error(
            f"--export-npy goes with {', '.join(EXPORTED)}; the guide grades no {rung.name}"
        )
    if rung.of_trace is not None:
        if options.config is None or is_own(options):
            command.error(f"{rung.name} takes the folder of a stored trace, and no nets")
        return halves.judge_again(options, rung.of_trace)
    if is_own(options):
        return _run_own(options, rung)
    of_arrays = rung.of_arrays
    if of_arrays is not None and options.torch_loss and options.config is None:

        def align_arrays(*_: Any) -> Any:
            return _exported(options, of_arrays(options))

        return align_each(options, rung.name, rung.name, align_arrays, pair=False)
    if options.config is None:
        command.error("give a config, or nets of your own")
    return _run_recipe(options, rung)


def _run_own(options: Any, rung: RungRow) -> int:
    from common.errors import UserError

    of_own_nets = rung.of_own_nets
    if of_own_nets is None:
        if not rung.verb:
            raise UserError(f"the {rung.name} stage needs a config")
        raise UserError(
            f"the {rung.name} stage needs a config; call align.{rung.verb} on batches of your own"
        )

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        if options.export_npy and rung.name == "step":
            report = own_nets.align_rounds(options, torch_net, paddle_net, GRADED_ROUNDS)
        else:
            report = of_own_nets(options, torch_net, paddle_net)
        return _exported(options, report)

    return align_each(options, rung.name, rung.name, align)


def _run_recipe(options: Any, rung: RungRow) -> int:
    recipe, of_recipe = recipe_of(options), rung.of_recipe
    assert of_recipe is not None  # a rung of a trace alone is gone by now

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        if options.export_npy and rung.name == "step":
            report = recipe.align_rounds(torch_net, paddle_net, GRADED_ROUNDS)
        else:
            report = of_recipe(recipe, torch_net, paddle_net)
        return _exported(options, report, recipe)

    return align_each(options, rung.name, rung.name, align, recipe)


def _exported(options: Any, report: Any, recipe: Any = None) -> Any:
    """Write the evidence of the rung that was climbed, where the options ask for it."""
    folder = options.export_npy
    if folder and options.stage == "step":
        return with_steps(folder, report)
    if folder:
        if options.stage == "data":
            written = reprod_log.export_data(folder, recipe.loaders(), recipe.data_batches)
        elif options.stage == "metric":
            written = reprod_log.export_metric(folder, report)
        else:
            written = reprod_log.export_loss(folder, report)
        report.notes.append(Words("written", paths=", ".join(map(str, written.paths))))
    return report
