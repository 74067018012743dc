"""A recording of weights that are zero cannot show what they multiply: it must not pass."""

import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import force_trace, record_trace
from tests.faults.strangers import Fresh, TorchFresh, fresh

IMAGE = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(0)).numpy()


class Twice(Fresh):
    """The branch is added once too often."""

    def forward(self, x):
        return fresh(self, x, add=lambda x, branch: x + branch + branch)


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("port", [Fresh, Twice])
def test_what_a_zero_weight_hides_could_not_be_checked(tmp_path, train, port):
    record_trace(TorchFresh(), [IMAGE], tmp_path / "trace", train=train)
    found = force_trace(port(), tmp_path / "trace")
    assert found.exit_code == 2
    (row,) = [call for call in found.unchecked if call.where == "weight:weight"]
    assert (row.layer, row.cause.kind) == ("norm", "behind_zero_weight")


@pytest.mark.parametrize("port", [Fresh, Twice])
def test_other_weights_are_judged(tmp_path, port):
    net = TorchFresh()
    torch.nn.init.uniform_(net.norm.weight, 0.5, 1.5)
    record_trace(net, [IMAGE], tmp_path / "trace")
    assert force_trace(port(), tmp_path / "trace").exit_code == (port is Twice)
