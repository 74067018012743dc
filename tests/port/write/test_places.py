"""Values that are written where a list or a mask says, and the gradients that come back."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from port.helpers.places_paddle import AtPlaces
from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, recorded, written

RING = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 9))

    def forward(self, x):
        ring = self.weight.new_zeros(4, 3, 25)
        flat = self.weight
        ring[:, :, [0, 2, 4, 10, 14, 20, 22, 24]] = flat[:, :, 1:]
        ring[:, :, [6, 7, 8, 11, 13, 16, 17, 18]] = -flat[:, :, 1:]
        ring[:, :, 12] = 0
        y = F.conv2d(x, ring.view(4, 3, 5, 5), padding=2)
        y[y > 2] *= 0.5
        y[:, 1:] = y[:, 1:] * 2
        return y
"""


def test_values_at_places_go_by_a_helper_and_slices_do_not(tmp_path):
    record, net = recorded(tmp_path, {"net": HEAD + RING})
    text = written(record)[0]["net.py"]
    assert "AtPlaces(ring)[:, :, [0, 2, 4, 10, 14, 20, 22, 24]] = flat[:, :, 1:]" in text
    assert "    ring[:, :, 12] = 0" in text
    assert "    y[:, 1:] = y[:, 1:] * 2" in text
    theirs, ours = both_outputs(tmp_path, record, net.double(), train=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("index", [[1, 0, 3], np.array([True, False, True, True])])
def test_the_gradient_of_values_at_places_is_torchs(index):
    rng = np.random.default_rng(0)
    base, values, after = (rng.normal(size=(n, 3)) for n in (4, 3, 4))
    b, v = (torch.from_numpy(one).requires_grad_() for one in (base, values))
    theirs = b * 1
    theirs[torch.as_tensor(index)] = v
    (theirs * torch.from_numpy(after)).sum().backward()
    pb, pv = (paddle.to_tensor(one, stop_gradient=False) for one in (base, values))
    ours = pb * 1
    AtPlaces(ours)[paddle.to_tensor(index)] = pv
    (ours * paddle.to_tensor(after)).sum().backward()
    np.testing.assert_array_equal(ours.numpy(), theirs.detach().numpy())
    np.testing.assert_array_equal(pb.grad.numpy(), b.grad.numpy())
    np.testing.assert_array_equal(pv.grad.numpy(), v.grad.numpy())


def test_places_of_a_slice_are_its_own():
    whole = paddle.arange(24).reshape([2, 3, 4])
    part, marked = whole[:, :, :2], np.arange(12).reshape(2, 3, 2) % 3 == 0
    AtPlaces(part)[paddle.to_tensor(marked)] = paddle.full([4], 99, dtype="int64")
    np.testing.assert_array_equal(part.numpy() == 99, marked)
    np.testing.assert_array_equal(whole.numpy()[:, :, :2] == 99, marked)


PARTS = """
class Net(nn.Module):
    def forward(self, x):
        y = x.clone()
        part, turned = y[:, :2], y.permute(0, 2, 3, 1)
        part[:, [1, 0]] = 0.5
        turned[:, :, [0, 2], [2, 1]] += 1.0
        part[part > 0.75] = 3.0
        y[:, [2, 0]] = -1.0
        return y
"""


def test_a_number_is_written_at_places_of_a_part(tmp_path):
    """Paddle's own writes it elsewhere, or never ends."""
    record, net = recorded(tmp_path, {"parts": HEAD + PARTS}, modes=("eval",))
    text = written(record)[0]["parts.py"]
    assert "AtPlaces(part)[:, [1, 0]] = 0.5" in text
    assert "    y[:, [2, 0]] = -1.0" in text
    np.testing.assert_array_equal(*both_outputs(tmp_path, record, net))


TRUTH = """
class Net(nn.Module):
    def forward(self, x):
        seen = torch.zeros(4, 5, dtype=torch.bool)
        seen[[0, 2]] = True
        seen[seen.clone()] = False
        seen[:, torch.tensor([1, 3])] = torch.tensor([[True, False]])
        whole, last = torch.arange(6), torch.ones(6)
        whole[whole > 3] -= 3
        last[[1, 2]] /= 2
        return x.sum() * (seen.sum() + whole[seen[:, 1].sum()] * last.sum())
"""


def test_truth_and_what_is_read_first_go_to_their_places(tmp_path):
    record, net = recorded(tmp_path, {"truth": HEAD + TRUTH}, modes=("eval",))
    text = written(record)[0]["truth.py"]
    assert "AtPlaces(whole)[whole > 3] -= 3" in text
    np.testing.assert_allclose(*both_outputs(tmp_path, record, net), rtol=1e-6)
