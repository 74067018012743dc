"""`tools/export.py` as it is typed."""

import json

import pytest

pytest.importorskip("paddle")

from tests.export.small import small_subject
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
    given = [CONFIG, NARROW, "--weights", weights, "-o", tmp_path / "out", "--format", "paddle"]
    done = run("export", *given, "--size", 32, 48, "--output", "argmax", "--json")
    assert done.returncode == 0, done.stderr
    account = json.loads(done.stdout)
    assert account["equal"]
    assert account["output"] == "argmax"
    assert (tmp_path / "out" / "deploy.yaml").is_file()
    again = run("export", *given, "--size", 32, 48)
    assert again.returncode == 2
    assert "--force replaces it" in again.stderr


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
