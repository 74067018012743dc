"""The flow of `align_training`: forced steps of a config, or of one's own nets."""

import argparse
from typing import Any

from align.judge.words import Words
from commands.align import own_nets
from commands.align.nets import recipe_of
from commands.align.options import is_own
from commands.align.run import align_each


def align_steps(command: argparse.ArgumentParser, options: Any) -> int:
    """Align the steps that the options ask for, and write what --export-npy asks."""
    if is_own(options):

        def own(torch_net: Any, paddle_net: Any, name: str) -> Any:
            report = own_nets.align_training(options, torch_net, paddle_net)
            return with_steps(options.export_npy, report)

        return align_each(options, "training", "training", own)
    if options.config is None:
        command.error("give a config, or nets of your own")
    recipe = recipe_of(options)

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        report = recipe.align_training(torch_net, paddle_net, options.steps)
        return with_steps(options.export_npy, report)

    return align_each(options, "training", "training", align, recipe)


def with_steps(folder: Any, report: Any) -> Any:
    """Write the evidence of training steps to `folder`; a note where a bad report has none.

    Raises UserError where there is none to write though nothing else is wrong.
    """
    from commands.align.reprod_log import export_steps
    from common.errors import UserError

    if folder:
        try:
            written = export_steps(folder, report)
            report.notes.append(Words("written", paths=", ".join(map(str, written.paths))))
        except UserError:
            if not report.exit_code:
                raise
            report.notes.append(
                Words("no_evidence", rounds=len(report.settings.get("free_steps", ())))
            )
    return report
