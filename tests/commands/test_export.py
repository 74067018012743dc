"""`tools/export.py` as it is typed."""

import json

import numpy as np
import pytest

pytest.importorskip("paddle")

from commands.subjects.named.frameworks import parts_of
from export.engines import open_engine
from tests.export.small import small_settings, small_subject
from tests.nursery import run
from tests.paths import ROOT

CONFIG = ROOT / "configs/unet_bilinear_toy.yml"
NARROW = "model.options.width=0.0625"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    small_subject(folder)
    return folder / "unet_bilinear_toy.pdparams"


def test_a_net_is_exported(weights, tmp_path):
    given = [CONFIG, NARROW, "--weights", weights, "-o", "out", "--format", "paddle"]
    done = run("export", *given, "--size", 32, 48, "--output", "argmax", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    account = json.loads(done.stdout)
    assert account["equal"]
    assert account["output"] == "argmax"
    assert (tmp_path / "out" / "deploy.yaml").is_file()
    again = run("export", *given, "--size", 32, 48, cwd=tmp_path)
    assert again.returncode == 2
    assert "--force replaces it" in again.stderr


def test_a_checkpoint_of_the_authors_is_converted_on_the_way(tmp_path):
    """What the exported port computes is what the reference does."""
    torch = pytest.importorskip("torch")
    net = parts_of(small_settings(), "torch").seeded_net(0).eval()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    given = [CONFIG, NARROW, "--weights", tmp_path / "net.pth", "-o", tmp_path / "out"]
    done = run("export", *given, "--format", "paddle", "--size", 32, 48)
    assert done.returncode == 0, done.stderr
    assert "equal to the training net: paddle" in done.stdout
    image = np.random.default_rng(0).standard_normal((1, 3, 32, 48), dtype=np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(image)).numpy()
    output = open_engine(tmp_path / "out", "paddle").run(image)
    assert np.abs(output - expected).max() < 1e-5 * np.abs(expected).max()


def test_sizes_that_cannot_be_free_are_said(tmp_path):
    narrow = "model.options.width=0.0625"
    small_subject(tmp_path, "pspnet50_toy")
    done = run(
        *("export", ROOT / "configs/pspnet50_toy.yml", narrow, "--format", "paddle"),
        *("--weights", tmp_path / "pspnet50_toy.pdparams", "-o", tmp_path / "out", "--free-size"),
    )
    assert done.returncode == 2
    assert "cannot be exported for free sizes" in done.stderr
    assert "--size HEIGHT WIDTH, each of the form 8k + 1" in done.stderr
    assert not (tmp_path / "out").exists()
