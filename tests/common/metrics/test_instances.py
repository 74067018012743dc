"""Masks with scores, as Panoptic-DeepLab's authors have them."""

import numpy as np
import pytest

from common.errors import ConfigError
from common.metrics.instances import panoptic_deeplab_instances


@pytest.mark.parametrize(("score", "value"), [("semantic", 0.5), ("instance", 0.8), ("both", 0.4)])
def test_instances_have_the_scores_of_the_authors(score, value):
    panoptic = np.array([[1001, 1001, 1001], [0, 1001, -1]])
    probabilities = np.full((2, 2, 3), 0.5)
    center = np.array([[[0.1, 0.8, 0.2], [0.3, 0.4, 0.6]]])  # the mean place is (0.25, 1.0)
    (instance,) = panoptic_deeplab_instances(panoptic, probabilities, center, score=score)
    assert (instance.category_id, instance.score) == (1, pytest.approx(value, abs=1e-15))
    assert instance.mask.tolist() == [[True, True, True], [False, True, False]]
    with pytest.raises(ConfigError, match="semantic, instance, both"):
        next(panoptic_deeplab_instances(panoptic, probabilities, center, score="mean"))
