"""Climb one rung of the ladder: weights, init, loss, data, metric or step of a config."""

from pathlib import Path
from typing import Any

import _align
from _entry import run

STAGES = ("weights", "init", "loss", "data", "metric", "step")


def main() -> int:
    """Align one stage of one config."""
    command = _align.arguments(
        __doc__ or "", "python tools/align_stage.py loss configs/stdc1_toy.yml", table=False
    )
    command.add_argument("stage", choices=STAGES)
    command.add_argument("config", type=Path, help="a file of configs/")
    command.add_argument("overrides", nargs="*", metavar="key.sub=value")
    options = _align.parse(command)
    from align import align_weights
    from align.recipe import Recipe

    recipe = Recipe(options.config, tuple(options.overrides))
    options.model = recipe.settings.model.name

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        if options.stage == "weights":
            return align_weights(torch_net, paddle_net)
        run_stage = getattr(recipe, f"align_{options.stage}")
        takes = {"loss": (torch_net,), "metric": (torch_net,), "step": (torch_net, paddle_net)}
        return run_stage(*takes.get(options.stage, ()))

    overrides = recipe.settings.model.overrides
    return _align.align_each(options, options.stage, options.stage, align, overrides)


if __name__ == "__main__":
    run(main)
