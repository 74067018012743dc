"""An export is verified before it stands; one that differs, or cannot be run, leaves nothing."""

import json
import subprocess
import sys

import numpy as np
import pytest

paddle = pytest.importorskip("paddle")

from common.errors import UserError
from export.deployment import Deployment, read_deployment
from export.make import job_paddle
from export.make.fold_paddle import affine, watching
from export.make.job_paddle import ExportDiffers, export_net
from export.make.onnx_paddle import is_possible
from paddle_impl.layers import InPlaceABN
from tests.export.small import SIZE, small_subject


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return small_subject(tmp_path_factory.mktemp("weights"))


def deployment(subject, **given):
    return subject.deployment(**{"height": SIZE[0], "width": SIZE[1]} | given)


def test_what_is_written(subject, tmp_path, monkeypatch):
    """Model, weights, deploy.yaml and account; no process but that which runs the model."""
    started = []
    real = subprocess.Popen

    def noted(command, *given, **named):
        started.append(command)
        return real(command, *given, **named)

    monkeypatch.setattr(subprocess, "Popen", noted)
    formats = ("paddle", "onnx") if is_possible() else ("paddle",)
    account = export_net(subject.build, deployment(subject), tmp_path / "out", formats)
    others = [command for command in started if command[0] != "uname"]  # platform.platform()
    modules = [command[1:3] for command in others if command[0] == sys.executable]
    assert modules == [["-m", "export.fresh"]] * len(formats)
    assert len(others) == len(formats)
    assert account == json.loads((tmp_path / "out/account.json").read_text("utf-8"))
    assert account["equal"]
    assert account["batch_norms"]["folded"] == account["batch_norms"]["in_all"] == 18
    assert account["batch_norms"]["fold_error"] < 1e-12
    assert set(account["files"]) == {file.name for file in (tmp_path / "out").iterdir()} - {
        "account.json"
    }
    found, folder = read_deployment(tmp_path / "out")
    assert folder == tmp_path / "out"
    assert found.input_shape == [1, 3, *SIZE]
    assert found.class_names[0] == "road"
    with pytest.raises(UserError, match="--force replaces"):
        export_net(subject.build, deployment(subject), tmp_path / "out")


@pytest.mark.parametrize(
    ("logits", "output", "told"),
    [
        (np.full((1, 2, 3, 3), np.nan), "argmax", "are not finite"),
        (np.zeros((1, 2, 3, 3)), "logits", "are all zeros"),
        (np.ones((1, 1, 3, 3)), "argmax", "there is one class; export logits"),
        (np.ones((1, 1, 3, 3)), "softmax", "there is one class; export logits"),
    ],
)
def test_outputs_that_any_export_would_have_are_not_checked(
    logits, output, told, tmp_path, monkeypatch
):
    class Told:
        def __init__(self, *given):
            self.exact = self.training = {"noise": logits}

    monkeypatch.setattr(job_paddle, "Truth", Told)
    given = Deployment("net", "m.json", None, height=SIZE[0], width=SIZE[1], output=output)
    with pytest.raises(UserError, match=told) as error:
        export_net(None, given, tmp_path / "out")
    assert not isinstance(error.value, ExportDiffers)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("factor", "offset", "output", "told"),
    [
        (1 + 1e-3, 0, "logits", "and nothing is left to compare"),
        (1 + 1e-3, 0, "softmax", "and nothing is left to compare"),
        (1, 1e7, "argmax", "rounding alone chooses the class of 94% of the pixels"),
    ],
)
def test_where_rounding_explains_everything_nothing_is_equal(
    factor, offset, output, told, tmp_path, monkeypatch
):
    logits = np.random.default_rng(0).standard_normal((1, 3, 4, 4)) * 9 + offset

    class Told:
        def __init__(self, *given):
            self.exact = {"noise": logits}
            self.training = {"noise": (logits * factor).astype(np.float32)}

    monkeypatch.setattr(job_paddle, "Truth", Told)
    given = Deployment("net", "m.json", None, height=SIZE[0], width=SIZE[1], output=output)
    with pytest.raises(UserError, match=told) as error:
        export_net(None, given, tmp_path / "out")
    assert error.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_else_is_left_alone(subject, tmp_path):
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(UserError, match="is there and no export"):
        export_net(subject.build, deployment(subject), tmp_path, force=True)
    assert (tmp_path / "thesis.txt").read_text() == "all of it"


def test_what_is_read_and_what_is_not_ours_is_never_replaced(tmp_path):
    """--force replaces a whole folder: with the weights in it, and with what people put there."""
    folder, weights = tmp_path / "out", tmp_path / "out" / "best.pdparams"
    folder.mkdir()
    (folder / "deploy.yaml").write_text("torch2paddle: {}")
    (folder / "account.json").write_text('{"files": {"deploy.yaml": {}, "best.pdparams": {}}}')
    job_paddle.check_folder(folder, force=True, inputs=[tmp_path / "best.pdparams"])
    weights.write_bytes(b"weights")
    (tmp_path / "link").symlink_to(weights)
    for name in (weights, tmp_path / "link", tmp_path / "out" / ".." / "out" / "best.pdparams"):
        with pytest.raises(UserError, match="which is read"):
            job_paddle.check_folder(folder, force=True, inputs=[name])
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds notes\.txt, which the export there did not write"):
        job_paddle.check_folder(folder, force=True)


def test_a_net_that_is_exported_wrongly_is_found(subject, tmp_path, monkeypatch):
    """One weight off by one part in ten thousand."""
    real = job_paddle.save

    def wrong(net, *given):
        weight = net.inc.double_conv[0].weight
        weight.set_value(weight * (1 + 1e-4))
        return real(net, *given)

    monkeypatch.setattr(job_paddle, "save", wrong)
    with pytest.raises(ExportDiffers, match="off the training net") as told:
        export_net(subject.build, deployment(subject), tmp_path / "out", ("paddle",))
    assert told.value.exit_code == 1
    assert not told.value.account["differences"][0]["equal"]
    assert list(tmp_path.iterdir()) == []


def test_free_sizes_and_batches(subject, tmp_path):
    """Verified at two sizes, one of them odd; with softmax."""
    if paddle.__version__ < "3":
        pytest.skip("this Paddle pads by numbers alone")
    free = deployment(subject, height=None, width=None, batch=None, output="softmax")
    account = export_net(subject.build, free, tmp_path / "out", ("paddle",))
    assert account["equal"]
    shapes = [row["shape"] for row in account["differences"]]
    assert shapes == [[2, 19, 96, 160], [2, 19, 161, 97]]


def test_only_a_batchnorm_that_alone_follows_is_folded():
    """A convolution that is read twice, and a BatchNorm that has two convolutions, stay."""

    class Net(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.one, self.two = (paddle.nn.Conv2D(3, 3, 1) for _ in range(2))
            self.three = paddle.nn.Conv2D(3, 3, 1)
            self.shared, self.own = (paddle.nn.BatchNorm2D(3) for _ in range(2))

        def forward(self, x):
            return self.shared(self.one(x)) + self.shared(self.two(x)) + self.own(self.three(x))

    net = Net()
    net.eval()
    with watching(net) as seen:
        net(paddle.zeros([1, 3, 4, 4]))
    assert seen.pairs() == [("three", "own")]


def test_the_scale_of_in_place_abn():
    norm = InPlaceABN(4)
    norm.eval()
    norm.weight.set_value(np.array([-2, -1e-6, 0, 3], "float32"))
    norm._variance.set_value(np.array([0.5, 1, 2, 4], "float32"))
    image = np.random.default_rng(0).standard_normal((1, 4, 2, 2)).astype("float32")
    scale, shift = (part.reshape([1, 4, 1, 1]) for part in affine(norm))
    np.testing.assert_allclose(norm(paddle.to_tensor(image)).numpy(), image * scale + shift, 1e-5)
