"""Show that training steps of a recipe are those of its PyTorch reference, each judged alone."""

import sys
from pathlib import Path
from typing import Any

import _align
from _entry import positive, run


def main() -> int:
    """Align forced training steps of one config."""
    command = _align.arguments(
        __doc__ or "", "python tools/align_training.py configs/stdc1_toy.yml --steps 5", table=False
    )
    command.add_argument("config", type=Path, help="a file of configs/")
    command.add_argument("overrides", nargs="*", metavar="key.sub=value")
    command.add_argument("--steps", type=positive, help="default: reproduce.training_steps")
    options = _align.parse(command)
    from align.recipe import Recipe

    recipe = Recipe(options.config, tuple(options.overrides))
    options.model = recipe.settings.model.name

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        print(f"aligning the training of {name} ...", file=sys.stderr)
        return recipe.align_training(torch_net, paddle_net, options.steps)

    overrides = recipe.settings.model.overrides
    return _align.align_each(options, "training", "training", align, overrides)


if __name__ == "__main__":
    run(main)
