"""A full disk leaves what stands under a name, and is named itself."""

import resource

import numpy as np
import pytest

from common.errors import UserError
from common.training import Diverged, train
from common.training.feed import open_data
from common.training.resume import Position, list_checkpoints, write_checkpoint
from tests.common.training.faults.settings import settings_of
from tests.common.training.numpy_side import NumpySide


@pytest.fixture
def no_room():
    """Limits files to 100 kB: what is larger fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, no_room):
    about = {"framework": "numpy", "settings": {}, "data": "", "keep": 1}
    small, large = {"a": np.zeros(4)}, {"a": np.zeros(40_000)}
    before = write_checkpoint(tmp_path, Position(iteration=1), small, **about)
    no_room()
    with pytest.raises(UserError) as caught:
        write_checkpoint(tmp_path, Position(iteration=2), large, **about)
    assert list_checkpoints(tmp_path) == [before]
    assert [path.name for path in tmp_path.iterdir()] == [before.name]  # no draft either
    for words in ("cannot be written", "disk /", "free of", str(before), "--resume auto"):
        assert words in str(caught.value)


def test_a_step_that_cannot_be_saved_is_still_said(toy, tmp_path, no_room):
    settings = settings_of(toy, f"output={tmp_path / 'run'}", "data.crop_hw=[64,128]")
    data = open_data(settings)
    no_room()
    with pytest.raises(Diverged, match=r"could not be saved for a replay.*disk /"):
        train(settings, NumpySide(nan_in_step=0), data)
    assert list((tmp_path / "run" / "nan").iterdir()) == []


@pytest.mark.parametrize("side", ["torch", "paddle"])
def test_weights_that_find_no_room_leave_those_that_stand(side, tmp_path, no_room):
    pytest.importorskip(side)
    from common.files import whole_file
    from tests.nets.training.stubs import SIDES, build_stub

    framework = SIDES[side]()
    net, criterion = build_stub(framework, {"a": np.zeros(60_000, np.float32)})
    module = __import__(f"{framework.room.__name__}.train", fromlist=["train"])
    made = module.TorchSide if side == "torch" else module.PaddleSide
    path = tmp_path / "best"
    path.write_text("earlier")
    no_room()
    with pytest.raises(UserError, match="disk /"), whole_file(path) as draft:
        made(net, criterion, None).save_weights(draft)
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]
