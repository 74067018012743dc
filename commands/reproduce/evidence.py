"""Pairs of files that graders of the paper-reproduction guide read, one pair a checkpoint.

Each file is a mapping of names to float32 arrays, pickled by `numpy.save`: what reprod_log writes
and reads. Both nets run as their users run them, in float32 and freely, so the numbers differ by
rounding; the verdict of the ladder is made elsewhere, in float64.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from commands.align.reprod_log import write_pair
from commands.subjects.inputs import seeded_input
from commands.subjects.recipe import Recipe

Values = dict[str, np.ndarray]


def write_evidence(
    recipe: Recipe, torch_net: Any, paddle_net: Any, folder: Path, steps: int = 2
) -> dict[str, float]:
    """Write `<checkpoint>_reference.npy` and `<checkpoint>_paddle.npy` to `folder`.

    Checkpoints: forward (logits of a seeded input, eval mode), metric (pixel accuracy, and mIoU
    over the classes that occur, on training crops), loss (of the first batch), bp_align (losses
    and learning rates of `steps` free training steps). Random layers are off, as the guide has it.

    Returns:
        The mean absolute difference of each value, as "checkpoint/value", which is what the
        guide's tool judges.

    Both nets have the same weights before; they are `steps` steps older afterwards.
    """
    batches = list(islice(recipe.small_batches(), max(steps, 2)))
    image = seeded_input(tuple(recipe.settings.reproduce.input_shape), recipe.settings.seed)
    with _random_off(torch_net, paddle_net):
        found = [
            _values(side, recipe, image.astype(np.float32), batches[:steps])
            for side in recipe.sides(torch_net, paddle_net)
        ]
    distances: dict[str, float] = {}
    for checkpoint in found[0]:
        pair = [values[checkpoint] for values in found]
        write_pair(folder, checkpoint, *pair)
        for key, theirs in pair[0].items():
            distances[f"{checkpoint}/{key}"] = float(np.abs(pair[1][key] - theirs).mean())
    return distances


def _values(side: Any, recipe: Recipe, image: np.ndarray, batches: list[Any]) -> dict[str, Values]:
    """Return checkpoint -> values of one side; the steps come last, for they change the net."""
    from common.metrics import ConfusionMatrix

    logits = _logits(side, image)
    matrix = ConfusionMatrix(recipe.settings.model.num_classes)
    for batch in batches:
        matrix.update(side.predict(batch.image, recipe.settings.evaluate), batch.label)
    rates = [recipe.small.learning_rate(step) for step in range(len(batches))]
    losses = [side.step([batch], rate)["loss"] for batch, rate in zip(batches, rates, strict=True)]
    steps = {f"loss_{step}": loss for step, loss in enumerate(losses)}
    steps |= {f"lr_{step}": rate for step, rate in enumerate(rates)}
    score = {"pixel_accuracy": matrix.pixel_accuracy(), "mIoU": matrix.mean_iou("skip")}
    return {
        "forward": {"logits": logits},
        "metric": _as_arrays(score),
        "loss": _as_arrays({"loss": losses[0]}),
        "bp_align": _as_arrays(steps),
    }


def _as_arrays(numbers: Mapping[str, float]) -> Values:
    return {name: np.array([number], np.float32) for name, number in numbers.items()}


def _logits(side: Any, image: np.ndarray) -> np.ndarray:
    """Return the main logits of `image` float32 [N, 3, H, W] in eval mode."""
    if side.framework == "torch":
        from commands.subjects.run_torch import main_logits_of
    else:
        from commands.subjects.run_paddle import main_logits_of
    return main_logits_of(side.net, image)


@contextmanager
def _random_off(torch_net: Any, paddle_net: Any) -> Iterator[None]:
    """Let every dropout layer of both nets keep everything, for a while."""
    layers = [*torch_net.modules(), *paddle_net.sublayers(include_self=True)]
    shares = {layer: layer.p for layer in layers if type(layer).__name__.startswith("Dropout")}
    for layer in shares:
        layer.p = 0.0
    try:
        yield
    finally:
        for layer, share in shares.items():
            layer.p = share
