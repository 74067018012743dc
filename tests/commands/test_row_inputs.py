"""Inputs that alignment commands make for a row of the table."""

import pytest

from commands.subjects.inputs import check_input_shape
from common.errors import UserError
from common.pairs import PAIRS


@pytest.mark.parametrize("row", PAIRS)
def test_the_input_that_a_row_is_given_can_be_trained_on(row):
    default = PAIRS[row].default_input
    assert check_input_shape(default, default, train=True) == default
    if default[0] > 1:
        with pytest.raises(UserError, match="a batch of at least 2"):
            check_input_shape((1, *default[1:]), default, train=True)
