"""The faster engine is measured once and remembered, by model, machine and versions."""

import numpy as np
import pytest

from common.errors import UserError
from export import choice
from export.engine import Engine


class Fake(Engine):
    def __init__(self, name, seconds, clock):
        super().__init__(None, [1, 3, -1, -1])
        self.name, self.seconds, self.clock = name, seconds, clock

    def _run(self, images):
        if self.seconds is None:
            raise UserError("it refuses the graph")
        self.clock[0] += self.seconds
        return np.zeros((1, 2, 4, 4), np.float32)


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """Return ({engine: model}, {engine: seconds that it takes}, engines that were opened)."""
    monkeypatch.setenv("TORCH2PADDLE_CACHE", str(tmp_path / "cache"))
    files, seconds, opened, clock = {}, {"paddle": 2.0, "onnxruntime": 1.0}, [], [0.0]
    for name in seconds:
        files[name] = tmp_path / name
        files[name].write_bytes(name.encode())

    def open_fake(path, name, deployment, threads):
        opened.append(name)
        return Fake(name, seconds[name], clock)

    monkeypatch.setattr(choice, "open_file", open_fake)
    monkeypatch.setattr(choice.time, "perf_counter", lambda: clock[0])
    return files, seconds, opened


def test_measured_once(fakes):
    files, seconds, opened = fakes
    assert choice.fastest(files, None, None) == "onnxruntime"
    seconds["paddle"] = 0.5
    assert choice.fastest(files, None, None) == "onnxruntime"
    assert opened == ["paddle", "onnxruntime"]
    assert choice.fastest(files, None, 1) == "paddle"  # another number of threads
    files["onnxruntime"].write_bytes(b"another model")
    assert choice.fastest(files, None, None) == "paddle"


def test_an_engine_that_cannot_run_it_is_out(fakes):
    files, seconds, _ = fakes
    seconds["onnxruntime"] = None
    assert choice.fastest(files, None, None) == "paddle"
    seconds["paddle"] = None
    with pytest.raises(UserError, match="no engine can run it: it refuses the graph; it refuses"):
        choice.fastest(files, None, 1)


def test_what_is_remembered_may_be_damaged(fakes):
    files, _, opened = fakes
    choice.fastest(files, None, None)
    (choice.cache_folder() / "engines.json").write_text("{")
    assert choice.fastest(files, None, None) == "onnxruntime"
    assert len(opened) == 4
