"""The evaluator of semantic nets against its metrics, and the pass that every evaluator gets."""

import numpy as np
import pytest

from common.data import Batch
from common.errors import DataError
from common.evaluation.evaluate import evaluate
from common.evaluation.evaluator import build_evaluator
from common.evaluation.semantic import SemanticEvaluator
from common.metrics import ConfusionMatrix, ForegroundDice
from common.settings.load import load_settings
from common.settings.run import Evaluate
from tests.paths import CONFIGS

NAMES = ("road", "car", "sky")


def batches(count=3, size=2):
    rng = np.random.default_rng(0)
    for _ in range(count):
        label = rng.integers(0, 3, (size, 4, 5))
        label[0, 0] = 255
        yield Batch(rng.standard_normal((size, 3, 4, 5)).astype(np.float32), label)


def guess(image):
    return (np.abs(image[:, 0]) * 3).astype(np.int64) % 3


class Side:
    def predict(self, image, options):
        return guess(image)


@pytest.mark.parametrize("dice", [False, True])
def test_scores_are_those_of_the_metrics(dice):
    evaluator = SemanticEvaluator(NAMES, dice=dice)
    counts, score = ConfusionMatrix(3), ForegroundDice(3)
    for batch in batches():
        evaluator.update(batch, guess(batch.image))
        counts.update(guess(batch.image), batch.label)
        score.update(guess(batch.image), batch.label)
    found = evaluator.compute()
    expected = {
        "mean_iou": counts.mean_iou(),
        "pixel_accuracy": counts.pixel_accuracy(),
        **({"dice": score.mean()} if dice else {}),
        "iou": dict(zip(NAMES, counts.iou().tolist(), strict=True)),
    }
    assert list(found.items()) == list(expected.items())
    evaluator.reset()
    assert evaluator.counts.counts.sum() == 0


def test_every_pass_begins_anew_and_may_be_stopped():
    evaluator, done = SemanticEvaluator(NAMES), []
    first = evaluate(Side(), batches(), evaluator, options=Evaluate(), progress=lambda n: True)
    again = evaluate(Side(), batches(), evaluator, options=Evaluate())
    assert first == again

    def stop(images):
        done.append(images)
        return images < 4

    assert evaluate(Side(), batches(), evaluator, options=Evaluate(), progress=stop) is None
    assert done == [2, 4]


def test_a_prediction_of_another_shape_is_refused():
    batch = next(batches())
    with pytest.raises(DataError, match="must be equal"):
        SemanticEvaluator(NAMES).update(batch, guess(batch.image)[:, :2])


def test_a_config_says_what_is_scored():
    settings = load_settings(CONFIGS / "unet.yml")
    evaluator = build_evaluator(settings, ("background", "car"), 255)
    assert isinstance(evaluator, SemanticEvaluator)
    assert (evaluator.with_dice, evaluator.absent) == (True, "skip")
    settings = load_settings(CONFIGS / "stdc1.yml")
    evaluator = build_evaluator(settings, NAMES, 255)
    assert (evaluator.with_dice, evaluator.absent) == (False, "nan")
