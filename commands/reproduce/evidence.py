"""Pairs of files that graders of the paper-reproduction guide read, one pair a checkpoint.

Each file is a mapping of names to float32 arrays, pickled by `numpy.save`: what reprod_log writes
and reads. Both nets run in float64, freely, and the values are cast at the end: a grader's 1e-6 is
finer than what float32 runs of a correct port reach. The verdict of the ladder is made elsewhere.
"""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from align import Report
from commands.align.reprod_log import (
    Written,
    as_arrays,
    export_data,
    export_forward,
    export_loss,
    export_steps,
    write_with_log,
)
from commands.subjects.inputs import seeded_input
from commands.subjects.named.parts import Parts
from commands.subjects.recipe import Recipe
from common.training.feed import validation_batches

FEW_IMAGES = 4  # of the validation whose objects are scored


def write_evidence(
    recipe: Recipe, torch_net: Any, paddle_net: Any, reports: Mapping[str, Report], folder: Path
) -> dict[str, float]:
    """Write `<checkpoint>_reference.npy`, `<checkpoint>_paddle.npy` and a log of each to `folder`.

    Checkpoints: forward (logits of a seeded input, eval mode), data (the first image and label of
    the first batches), metric (pixel accuracy, and mIoU over the classes that occur, of both nets'
    predictions on training crops; of nets of instances AP on a few validation images), loss (of
    both criteria on the same outputs), bp_align (losses and rates of two free training steps).

    Args:
        reports: those of the rungs "loss" and "training", by name.

    Returns:
        The mean absolute difference of each value, as "checkpoint/value", which is what the
        guide's tool judges.

    Raises UserError where a rung has no values to write.
    """
    image = seeded_input(tuple(recipe.settings.reproduce.input_shape), recipe.settings.seed)
    written: dict[str, Written] = {
        "forward": export_forward(folder, torch_net, paddle_net, [image], recipe.pair.rules),
        "data": export_data(folder, recipe.loaders(), recipe.data_batches),
        "metric": _export_metric(recipe, torch_net, paddle_net, folder),
        "loss": export_loss(folder, reports["loss"]),
        "bp_align": export_steps(folder, reports["training"]),
    }
    return {
        f"{checkpoint}/{key}": distance
        for checkpoint, files in written.items()
        for key, distance in files.distances.items()
    }


def _export_metric(recipe: Recipe, torch_net: Any, paddle_net: Any, folder: Path) -> Written:
    """Write both nets' scores on two batches, predicted as the config evaluates."""
    from align.pairing.pair_nets import pair_nets
    from align.pairing.reference_torch import LiveReference
    from align.trial.setup import prepared

    sides = pair_nets(LiveReference(torch_net), paddle_net, recipe.pair.rules)
    scores = []
    with prepared(sides, dtype="float64", train=False):
        for part, net in zip(recipe.parts, (torch_net, paddle_net), strict=True):
            scored = _of_classes if recipe.counts_classes else _of_objects
            scores.append(as_arrays(scored(recipe, part, net)))
    return write_with_log(folder, "metric", *scores)


def _of_classes(recipe: Recipe, part: Parts, net: Any) -> dict[str, float]:
    """Return the scores of the classes that a net predicts on two training batches."""
    metric = part.metric(of_classes=True)
    segments = recipe.settings.model.task == "panoptic"
    for batch in islice(recipe.small_batches(), 2):
        found = part.predict(net, batch.image)
        metric.update(found[:, 1] if segments else found, batch.semantic)
    return metric.scores()


def _of_objects(recipe: Recipe, part: Parts, net: Any) -> dict[str, float]:
    """Return AP of masks and boxes on the first validation images, 0 where there is no object."""
    data = part.data()
    evaluator = part.evaluator(data)
    for batch in islice(validation_batches(data.val, part.settings), FEW_IMAGES):
        evaluator.update(batch, part.predict(net, batch.image))
    scores = evaluator.compute()
    return {
        name: 0.0 if scores[name] != scores[name] else scores[name] for name in ("ap", "box_ap")
    }
