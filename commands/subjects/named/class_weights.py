"""`loss.weights: from_data` turned into numbers, once a data set."""

from collections.abc import Iterator

import numpy as np

from common.data.class_weights import LabelCounts, class_weights, count_labels
from common.errors import ConfigError
from common.settings.recipe import ClassWeights
from common.settings.run import Settings
from common.training.feed import DataSets

_counted: dict[str, LabelCounts] = {}  # by the fingerprint of a data set


def weighed(settings: Settings, data: DataSets) -> Settings:
    """Return the settings with a number for each class where `loss.weights` says from_data.

    The labels of the training split are read for that, as they lie, and every one once; a damaged
    one is left out where the training leaves it out (`data.skip_broken`). Raises
    ConfigError for numbers that are not as many as the classes, DataError for a label that cannot
    be read.
    """
    loss, classes = settings.loss, settings.model.num_classes
    if not isinstance(loss, ClassWeights) or loss.weights is None:
        return settings
    if loss.weights != "from_data":
        if len(loss.weights) != classes:
            raise ConfigError(
                f"loss.weights has {len(loss.weights)} numbers, and the net {classes} classes; "
                "give one for each class, in their order, or from_data"
            )
        return settings
    if data.fingerprint not in _counted:
        _counted[data.fingerprint] = count_labels(_labels(data), classes, data.ignore_index)
    weights = class_weights(_counted[data.fingerprint], loss.formula)
    numbers = {"weights": weights, "weight_formula": None}
    return settings.model_copy(update={"loss": loss.model_copy(update=numbers)})


def _labels(data: DataSets) -> Iterator[np.ndarray]:
    for index in range(len(data.train)):
        try:
            yield data.train.label(index)
        except data.train.skips:
            continue
