"""What a recording leaves alone: frameworks, and runtimes of graphs, are imported as they are."""

import ast

import pytest

pytest.importorskip("torch")

from port.record.hook_torch import Finder
from port.record.instrument import instrumented
from port.record.recorder_torch import Phase


@pytest.mark.parametrize("name", ["torch.nn", "paddle", "onnxruntime", "polygraphy.backend.common"])
def test_what_is_no_net_is_found_by_python_alone(name):
    """Polygraphy asks which module calls its decorators: a question between them is the answer."""
    assert Finder(Phase(), lambda file: False).find_spec(name) is None


def test_an_index_of_nothing_is_left_as_it_is():
    tree, _ = instrumented("Nothing = tuple[()]\n", frozenset())
    assert "[()]" in ast.unparse(tree)
