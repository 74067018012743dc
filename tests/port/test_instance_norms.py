"""Instance norms that keep running statistics."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from port.helpers import pooling_norms_paddle


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("rank", [3, 4, 5])
def test_statistics_run_as_torchs_and_are_used_in_eval_mode(rank, affine):
    layers = {3: torch.nn.InstanceNorm1d, 4: torch.nn.InstanceNorm2d, 5: torch.nn.InstanceNorm3d}
    theirs = layers[rank](4, momentum=0.3, affine=affine, track_running_stats=True)
    made = getattr(pooling_norms_paddle, f"InstanceNorm{rank - 2}DWithStatistics")
    ours = made(4, momentum=0.3, affine=affine)
    assert {name for name, _ in ours.named_buffers()} == {
        name for name, _ in theirs.named_buffers()
    }
    image = np.random.default_rng(0).normal(1, 2, (2, 4, *(3, 5, 2)[: rank - 2])).astype("float32")
    for mode in ("train", "train", "eval"):
        getattr(theirs, mode)()
        getattr(ours, mode)()
        wanted = theirs(torch.from_numpy(image)).detach().numpy()
        np.testing.assert_allclose(ours(paddle.to_tensor(image)).numpy(), wanted, atol=1e-5)
    for name in ("running_mean", "running_var"):
        wanted = getattr(theirs, name).numpy()
        np.testing.assert_allclose(getattr(ours, name).numpy(), wanted, rtol=1e-5)
