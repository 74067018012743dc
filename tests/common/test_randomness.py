import numpy as np
import pytest

from common.errors import ConfigError
from common.randomness import choice, epoch_order, generator, sample_generator, uniform

GOLDEN_DRAWS = [0.18300063062681127, 0.7599424077229412]
GOLDEN_ORDER = [6, 5, 3, 4, 2, 7, 1, 0]


def test_the_numbers_are_pinned_so_that_a_run_can_be_repeated_years_later():
    draws = sample_generator(0, 3, 7).random(2).tolist()
    assert draws == GOLDEN_DRAWS
    assert epoch_order(0, 1, 8).tolist() == GOLDEN_ORDER


def test_purpose_and_every_counter_give_a_stream_of_their_own():
    keys = [(0, "sample", 1, 2), (0, "sample", 2, 1), (1, "sample", 1, 2), (0, "order", 1, 2)]
    assert len({float(generator(*key).random()) for key in keys}) == len(keys)


def test_an_order_is_a_permutation_and_changes_with_the_epoch():
    first, second = epoch_order(5, 0, 100), epoch_order(5, 1, 100)
    assert sorted(first.tolist()) == list(range(100))
    assert first.dtype == np.int64
    assert (first != second).any()


def test_uniform_and_choice_stay_in_range():
    rng = generator(0, "test")
    assert all(0.5 <= uniform(rng, 0.5, 1.5) < 1.5 for _ in range(100))
    assert {choice(rng, 3) for _ in range(100)} == {0, 1, 2}


def test_a_negative_seed_is_the_users_error():
    with pytest.raises(ConfigError, match="at least 0, got seed -1"):
        generator(-1, "sample", 0)
