"""Every command that writes a folder is alone in it, and removes what a killed run left there."""

import os
import runpy
import signal
import sys

import numpy as np
import pytest

from commands import convert
from commands.port import command as port_command
from common import locks
from common.data.toy import write_toy_cityscapes
from common.errors import UserError
from common.locks import HOLDER, LOCK, only_run_in, only_writer_of
from convert.formats.safetensors import write_safetensors
from tests.commands.test_help import TOOL_NAMES
from tests.paths import CONFIGS, TOOLS

CONFIG = f"{CONFIGS / 'unet_toy.yml'} data.root={{toy}}"
NETS = "import torch\ndef net():\n    return torch.nn.Conv2d(3, 2, 1)\n"
# What holds the name of what it replaces, and what holds the folder that it adds files to.
AT = {
    "align_backward": "--torch own_net:net --input-shape 1 3 4 4 --record {place}",
    "align_forward": "--torch own_net:net --input-shape 1 3 4 4 --record {place}",
    "chain": f"{CONFIG} --output {{place}}",
    "convert_graph": "{here}/net.onnx -o {place}",
    "convert_weights": "{here}/a.safetensors -o {place} --generic --no-verify",
    "export": f"{CONFIG} --weights none.pdparams -o {{place}}",
    "make_toy_cityscapes": "{place}",
    "make_toy_volumes": "{place}",
    "port": "own_net:net --input-shape 1 3 4 4 -o {place}",
    "reproduce": f"{CONFIG} --output {{place}}",
}
INSIDE = {
    "check_data": f"{CONFIG} --workers 0 -o {{place}}",
    "evaluate": f"{CONFIG} --weights none.pdparams --save-ids {{place}}",
    "new_reproduction": "{place} --yes --classes 3",
    "predict": "{here} --model {here}/exported --output {place}",
}
TRAININGS = {"train_paddle", "train_torch"}  # tests/common/training/test_loop.py
# These write nothing, or single files and reports.
NO_FOLDER = {"align_stage", "align_training", "benchmark", "compare_runs", "panoptic_quality"}
NO_FOLDER |= {"replay_batch", "report"}
NEED = {"evaluate": "paddle", "export": "paddle", "port": "torch", "check_data": "PIL"}
NEED |= {"align_forward": "torch", "align_backward": "torch"}


def test_every_command_is_known():
    assert {*AT, *INSIDE, *TRAININGS, *NO_FOLDER} == set(TOOL_NAMES)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "toy"
    write_toy_cityscapes(folder, train=1, val=1, size_hw=(32, 64))
    return folder


@pytest.fixture
def run(toy, tmp_path, monkeypatch):
    """A function that runs a command in this process, as it is typed, with a place to write to."""
    write_safetensors({"w": np.ones((2, 2), "f4")}, tmp_path / "a.safetensors")
    (tmp_path / "own_net.py").write_text(NETS)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path, str(TOOLS)])
    monkeypatch.delitem(sys.modules, "own_net", raising=False)

    def run(tool, place):
        if tool in NEED:
            pytest.importorskip(NEED[tool])
        words = {**AT, **INSIDE}[tool].format(here=tmp_path, toy=toy, place=place)
        monkeypatch.setattr(sys, "argv", [f"{tool}.py", *words.split()])
        return runpy.run_path(str(TOOLS / f"{tool}.py"))["main"]()

    interrupt = signal.getsignal(signal.SIGINT)  # tools/_checkout.py takes another
    yield run
    signal.signal(signal.SIGINT, interrupt)


def beside(place):
    return sorted(path.name for path in place.parent.iterdir() if path.name != "__pycache__")


@pytest.mark.parametrize("tool", [*AT, *INSIDE])
def test_a_second_one_is_told_who_holds_it(tool, run, tmp_path):
    place = tmp_path / "out"
    before = beside(place)
    holder = only_run_in(place, stays=False) if tool in INSIDE else only_writer_of(place)
    told = rf"out: another run writes there \(process {os.getpid()} on "
    with holder, pytest.raises(UserError, match=told):
        run(tool, place)
    if tool in INSIDE:
        place.rmdir()  # nothing is left in it
    assert beside(place) == before


class Swept(Exception):
    """What was removed."""


@pytest.mark.parametrize("tool", [*AT, *INSIDE])
def test_drafts_of_a_killed_run_go_with_a_word(tool, run, tmp_path, monkeypatch, capsys):
    tell = locks.tell_swept

    def telling(paths):
        tell(paths)
        if paths:
            raise Swept(*paths)

    for module in (locks, convert, port_command):
        monkeypatch.setattr(module, "tell_swept", telling)
    place = tmp_path / "out"
    draft = place / ".a.png.4000000.part" if tool in INSIDE else tmp_path / ".out.4000000.part"
    draft.parent.mkdir(exist_ok=True)
    draft.write_text("half")
    lock, note = (place / LOCK, place / HOLDER)
    if tool in AT:
        lock, note = (tmp_path / f".out{name}" for name in (LOCK, HOLDER))
    lock.touch()
    note.write_text("{")  # of who was killed while he wrote it
    with pytest.raises(Swept) as found:
        run(tool, place)
    assert found.value.args == (draft,)
    assert f"removed, drafts of a run that was killed: {draft}" in capsys.readouterr().err
    assert not any(path.exists() for path in (draft, lock, note))


def test_an_earlier_port_is_swept_below_and_another_folder_is_not(run, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    found = []
    monkeypatch.setattr(port_command, "tell_swept", found.extend)
    draft = tmp_path / "out" / "models" / ".net.py.4000000.part"
    draft.parent.mkdir(parents=True)
    draft.write_text("half")
    for sweeps in (False, True):
        if sweeps:
            (tmp_path / "out" / "port.json").write_text("{}")
        with pytest.raises(UserError, match="exists already"):  # there is no --force
            run("port", tmp_path / "out")
        assert draft.exists() == (not sweeps)
    assert found == [draft]
