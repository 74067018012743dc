"""A net of the table is exported, verified, kept, opened again, and computes what it did."""

import numpy as np
import pytest

paddle = pytest.importorskip("paddle")

from commands.deploy.engine import engine_for
from commands.subjects.named.frameworks import parts_of
from common.errors import UserError
from common.settings.load import load_settings
from export.engines import open_engine
from tests.paths import ROOT

SIZE = (32, 48)


@pytest.fixture(scope="module")
def settings():
    return load_settings(ROOT / "configs/unet_bilinear_toy.yml", ["model.options.width=0.0625"])


@pytest.fixture(scope="module")
def net(settings):
    made = parts_of(settings, "paddle").seeded_net(0)
    made.eval()
    return made


@pytest.fixture(scope="module")
def cache(tmp_path_factory, settings, net):
    """Return (folder of the cache, weights, engine) of one export."""
    folder = tmp_path_factory.mktemp("cache")
    paddle.save(net.state_dict(), str(folder / "w.pdparams"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH2PADDLE_CACHE", str(folder / "cache"))
        said = []
        weights = folder / "w.pdparams"
        engine = engine_for(settings, weights, SIZE, engine="paddle", progress=said.append)
        assert len(said) == 4
        engine_for(settings, weights, SIZE, engine="paddle", progress=said.append)
        assert len(said) == 4  # the second time nothing is exported
    return folder / "cache", weights, engine


def test_it_computes_what_the_net_does(cache, net):
    images = np.random.default_rng(0).standard_normal((3, 3, *SIZE), dtype=np.float32)
    with paddle.no_grad():
        expected = net(paddle.to_tensor(images)).numpy()
    given = cache[2].run(images)  # a batch of 1, three times
    assert given.dtype == np.float32
    assert np.abs(given - expected).max() <= 1e-5 * np.abs(expected).max()


def test_another_size_is_refused_with_what_it_takes(cache):
    with pytest.raises(UserError, match=r"\[1, 3, 32, 48\], got \[1, 3, 32, 40\]"):
        cache[2].run(np.zeros((1, 3, 32, 40), np.float32))


def test_an_engine_that_is_not_there_is_said(cache, tmp_path):
    folder = next((cache[0] / "exports").iterdir())
    with pytest.raises(UserError, match=r"onnxruntime"):
        open_engine(folder, "onnxruntime")
    with pytest.raises(UserError, match="no such file"):
        open_engine(tmp_path / "absent")
    with pytest.raises(UserError, match="no exported model"):
        open_engine(cache[1])
