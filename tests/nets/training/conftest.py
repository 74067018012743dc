"""Tests that take `side` run on both."""

import pytest

from tests.nets.training.stubs import SIDES


@pytest.fixture(params=SIDES)
def side(request):
    return SIDES[request.param]()
