"""Weights that cannot be had hold nothing; what only their tensors have is said with a remedy."""

import copy

import pytest

torch = pytest.importorskip("torch")

from port.record.stand_ins.downloads_torch import without_weights


def test_what_a_tensor_alone_has_names_the_file_and_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    url = "http://127.0.0.1:9/small-0.pth"
    with without_weights() as sought:
        state = torch.hub.load_state_dict_from_url(url, progress=False)
        assert state["model"]["conv.weight"] == {} == copy.copy(state)
        assert not hasattr(state, "state_dict")
        with pytest.raises(AttributeError) as told:
            _ = state["conv.weight"].shape
        path = str(tmp_path / "gone.pth")
        with pytest.raises(AttributeError, match=r"put the file at .*gone\.pth"):
            _ = torch.load(path)["x"].dtype
    assert (sought.absent, sought.read) == ([url, path], [])
    for words in (url, ".shape", "pretrained=False", str(tmp_path / "checkpoints" / "small-0.pth")):
        assert words in str(told.value)
