"""Tests that take `side` run on both."""

import pytest

from tests.nets.losses.criteria import SIDES


@pytest.fixture(params=SIDES)
def side(request):
    return SIDES[request.param]()
