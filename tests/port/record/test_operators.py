"""torchvision's operators, which its Python part asks for as it is imported."""

from importlib.util import find_spec

import pytest

torch = pytest.importorskip("torch")

from port.record.stand_ins.operators_torch import lent


@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")
def test_operators_are_there_before_a_package_asks_and_keeps_quiet():
    def asked() -> bool:
        return hasattr(torch.ops.torchvision, "nms")

    assert lent(asked)
    assert lent(asked)
