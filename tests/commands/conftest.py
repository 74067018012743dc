"""What tests of commands begin with."""

import shutil

import pytest

from tests.commands.own_recipe import EXAMPLE


@pytest.fixture
def mine(tmp_path):
    """Return the folder of a copy of the example."""
    folder = tmp_path / "mine"
    shutil.copytree(EXAMPLE, folder)
    return folder
