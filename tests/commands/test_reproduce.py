"""What `reproduce` trains: as long as the config and the command line say, or what it says."""

import subprocess
from types import SimpleNamespace

import pytest

from tests.paths import ROOT

pytest.importorskip("torch")
pytest.importorskip("paddle")

from align.report.run import Rung
from commands.reproduce import command, ladder
from commands.reproduce.ladder import Reproduction
from common.errors import UserError
from common.settings.load import load_settings

TOY, PAPER = ROOT / "configs" / "stdc1_toy.yml", ROOT / "configs" / "stdc1.yml"


def trained(config, folder, monkeypatch, **how):
    """Return the settings that the training command of `reproduce` would get."""
    commands = []

    def run(command, **_):
        commands.append(command)
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(ladder, "subprocess", SimpleNamespace(run=run, PIPE=subprocess.PIPE))
    reproduction = Reproduction(config, folder, **how)
    reproduction.settings = load_settings(config, reproduction._overrides())
    reproduction.state = {}
    reproduction._train()
    _, tool, path, *overrides, as_json, _, language = commands[0]
    assert (tool, path) == (str(ROOT / "tools" / "train_paddle.py"), str(config))
    assert (as_json, language) == ("--json", "en")
    return load_settings(config, overrides), reproduction


@pytest.mark.parametrize("config", [TOY, PAPER], ids=["toy", "paper"])
def test_the_config_says_how_long(config, tmp_path, monkeypatch):
    settings, reproduction = trained(config, tmp_path, monkeypatch)
    assert settings.train == load_settings(config).train
    assert reproduction.shortened == []


def test_the_command_line_wins(tmp_path, monkeypatch):
    given = ("train.iterations=25", "reproduce.training_steps=3")
    settings, _ = trained(TOY, tmp_path, monkeypatch, overrides=given)
    assert settings.train.iterations == 25
    settings, fast = trained(TOY, tmp_path, monkeypatch, overrides=given, fast=True)
    assert (settings.train.iterations, settings.reproduce.training_steps) == (25, 3)
    assert settings.data.crop_hw == (64, 64)
    assert not {"train.iterations=4", "reproduce.training_steps=2"} & set(fast.shortened)
    assert "train.log_interval=1" in fast.shortened


def test_weights_of_the_config_are_not_replaced(tmp_path, monkeypatch):
    given = ("weights.path=own.pdparams", "weights.into=cp.backbone")
    settings, _ = trained(TOY, tmp_path, monkeypatch, overrides=given)
    assert settings.weights.path == "own.pdparams"


def test_fast_needs_data_that_it_can_make(tmp_path):
    with pytest.raises(UserError, match=r"unet\.yml: reads data of carvana.*unet_toy\.yml"):
        Reproduction(ROOT / "configs" / "unet.yml", tmp_path / "run", fast=True).run()
    assert not (tmp_path / "run").exists()


def test_a_rung_that_cannot_run_does_not_end_the_climb(tmp_path):
    reproduction = Reproduction(TOY, tmp_path)
    reproduction.settings = load_settings(TOY)

    def fails():
        raise UserError("no such batch")

    reproduction._report("loss", fails)
    (rung,) = reproduction.rungs
    assert (rung.exit_code, rung.result) == (2, "no such batch")
    code, said = reproduction._write_evidence(None, None)
    assert code == 2
    assert "loss, training" in said


def test_fast_reads_photos_of_ones_own_where_they_are(tmp_path, monkeypatch):
    from tests.common.data import layouts

    root = layouts.image_list(tmp_path / "toy_photos")
    config = ROOT / "examples" / "own_photos" / "photos.yml"
    given = (f"data.root={root}",)
    settings, fast = trained(config, tmp_path / "run", monkeypatch, overrides=given, fast=True)
    assert (settings.data.root, settings.model.num_classes) == (str(root), 5)
    absent = [f"data.root={tmp_path / 'toy'}", "data.class_file=null", "data.num_classes=5"]
    fast.settings = load_settings(config, absent)
    fast._make_data()  # of Cityscapes alone
    assert not (tmp_path / "toy").exists()


def test_the_last_line_tells_names_with_commas_apart(tmp_path, capsys):
    names = ("forward, eval", "forward, train", "backward")
    rungs = [Rung(name, code, "", 1.0) for name, code in zip(names, (1, 1, 0), strict=True)]
    command._show(SimpleNamespace(rungs=rungs, exit_code=1), tmp_path, quiet=True)
    assert "3 rungs, not good: forward, eval; forward, train" in capsys.readouterr().out
