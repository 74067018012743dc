"""What `reproduce` trains: as long as the config and the command line say, or what it says."""

import json
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from tests.commands.own_recipe import replace
from tests.paths import ROOT

pytest.importorskip("torch")
pytest.importorskip("paddle")

from align.judge.words import Words, printed
from align.report.run import Rung
from commands.reproduce import command, training
from commands.reproduce.ladder import Reproduction, said_of
from commands.reproduce.training import Trained, TrainingEnded, common_start, compare_scores
from common.errors import UserError
from common.evaluation.tasks import ask_of
from common.panoptic.sets.coco import CocoPanoptic
from common.settings.load import load_settings
from common.settings.run import Evaluate

TOY, PAPER = ROOT / "configs" / "stdc1_toy.yml", ROOT / "configs" / "stdc1.yml"


def trained(config, folder, monkeypatch, **how):
    """Return the settings that the training command of `reproduce` would get."""
    commands = []

    def run(command, **_):
        commands.append(command)
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(training, "subprocess", SimpleNamespace(run=run, PIPE=subprocess.PIPE))
    reproduction = Reproduction(config, folder, **how)
    reproduction.settings = load_settings(config, reproduction._overrides())
    reproduction.recipe = SimpleNamespace(settings=reproduction.settings)
    code, said = reproduction._train("paddle", {})
    assert (code, said) == (2, "training ended with exit code 1")
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
    fast._make_data()  # of Cityscapes and COCO panoptic alone
    assert not (tmp_path / "toy").exists()
    small = [f"reproduce.toy_{key}" for key in ("train=1", "val=1", "size_hw=[32,64]")]
    coco = ROOT / "configs" / "panoptic_deeplab_r50_coco.yml"
    fast.settings = load_settings(coco, [f"data.root={tmp_path / 'toy'}", *small])
    fast._make_data()
    assert len(CocoPanoptic(tmp_path / "toy", "train")) == 1


def test_the_last_line_tells_names_with_commas_apart(tmp_path, capsys):
    names = ("forward, eval", "forward, train", "backward")
    rungs = [Rung(name, code, "", 1.0) for name, code in zip(names, (1, 1, 0), strict=True)]
    command._show(SimpleNamespace(rungs=rungs, exit_code=1), tmp_path, quiet=True)
    assert "3 rungs, not good: forward, eval; forward, train" in capsys.readouterr().out


def training_of(folder, best, *rows):
    """Return a training whose log holds validations: (iteration, mIoU, metric)."""
    folder.mkdir(parents=True)
    keys = ("iteration", "mean_iou", "metric")
    lines = [{"iteration": 1, "loss": 2.0}, *(dict(zip(keys, row, strict=True)) for row in rows)]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    score = next((row[1] for row in rows if row[0] == best), None)
    result = {"best_iteration": best, "best_mean_iou": score, "best_pq": None, "best_ap": None}
    return Trained(folder, result)


def held(path):
    return np.load(path, allow_pickle=True).item()


SCORED = (4, [(4, 0.5, {"dice": 0.7}), (8, 0.4, {"dice": 0.9})])
SCORES = {  # of Paddle's training: exit code, the score it names
    "alike": (4, [(4, 0.501, {"dice": 0.7}), (8, 0.1, {"dice": 0.1})], 0, "mIoU"),
    "best elsewhere": (8, [(4, 0.1, {"dice": 0.1}), (8, 0.5, {"dice": 0.7})], 0, "mIoU"),
    "mIoU": (4, [(4, 0.502, {"dice": 0.7})], 1, "mIoU"),
    "the user's": (4, [(4, 0.5, {"dice": 0.702})], 1, "dice"),
    "not a number": (4, [(4, float("nan"), {"dice": 0.7})], 2, "finite"),
}


@pytest.mark.parametrize("case", SCORES)
def test_the_scores_of_both_trainings_are_graded(tmp_path, case):
    best, rows, code, name = SCORES[case]
    theirs = training_of(tmp_path / "torch", SCORED[0], *SCORED[1])
    ours = training_of(tmp_path / "paddle", best, *rows)
    found, said = compare_scores(theirs, ours, 0.0015, tmp_path)
    assert (found, name in said) == (code, True)
    files = [held(tmp_path / f"train_align_{side}.npy") for side in ("benchmark", "paddle")]
    assert [set(file) for file in files] == [{"mIoU", "dice"}] * 2
    log = (tmp_path / "train_align_diff.log").read_text()
    assert log.endswith("diff check passed\n" if code == 0 else "diff check failed\n")
    assert "0.0015" in log


def test_one_score_too_few_is_no_comparison(tmp_path):
    ours = training_of(tmp_path / "paddle", 4, (4, 0.5, None))
    with pytest.raises(UserError, match="only one side has dice"):
        compare_scores(training_of(tmp_path / "torch", *SCORED[:1], *SCORED[1]), ours, 1, tmp_path)
    none = training_of(tmp_path / "none", None)
    assert compare_scores(none, none, 1, tmp_path)[0] == 2


def test_a_training_without_scores_leaves_nothing_to_compare(tmp_path, monkeypatch):
    """Of the reference's; Paddle's is drawn and stays good."""
    reproduction = Reproduction(TOY, tmp_path, overrides=("reproduce.train_both=true",))
    reproduction.settings = load_settings(TOY, reproduction.overrides)
    ours = training_of(tmp_path / "train", 4, (4, 0.5, None))

    def run(framework, config, overrides, output):
        if framework == "torch":
            raise TrainingEnded(Words("training_ended", code=1))
        return ours

    monkeypatch.setattr("commands.reproduce.ladder.run_training", run)
    monkeypatch.setattr(reproduction, "_start", lambda framework: [])
    monkeypatch.setattr(reproduction, "_draw", lambda made: None)
    reproduction._train_all()
    codes = {rung.name: rung.exit_code for rung in reproduction.rungs}
    assert codes == {"train": 0, "train, reference": 2, "train_align": 2}
    assert (tmp_path / "loss.png").is_file()


@pytest.mark.parametrize("given", [False, True], ids=["first weights", "a checkpoint"])
def test_both_trainings_start_at_the_same_weights(mine, monkeypatch, given):
    import paddle
    import torch

    from commands.subjects.recipe import Recipe

    monkeypatch.chdir(mine)
    monkeypatch.syspath_prepend(mine)
    if given:
        replace(mine, "my_net.yml", "name: my_net\n", "name: my_net\nweights: {path: model.pth}\n")
    recipe = Recipe(mine / "my_net.yml")
    reference = recipe.parts[0].seeded_net(5)
    if given:
        torch.save(reference.state_dict(), "model.pth")
    starts = common_start(recipe, reference if given else None, mine)
    assert starts["torch"][0] == f"weights.path={mine / 'train_start.pth'}"
    theirs = torch.load("train_start.pth")
    ours = paddle.load(str(mine / "train_start.pdparams"))
    assert len(ours) == 7
    for name in ("stem.weight", "head.bias"):
        assert np.array_equal(theirs[name].numpy(), np.asarray(ours[name]))
        assert np.array_equal(theirs[name].numpy(), reference.state_dict()[name]) == given
    for framework, overrides in starts.items():
        assert load_settings(mine / "my_net.yml", overrides).weights.path, framework


def strict_parts(multiple):
    """Parts of a torch net that takes any image, and of a Paddle net that takes multiples."""
    import paddle
    import torch

    from paddle_impl.train import PaddleInference
    from torch_ref.train import TorchInference

    class Strict(paddle.nn.Conv2D):
        def forward(self, image):
            assert not image.shape[2] % multiple, "of no such height"
            return super().forward(image)

    sizes = [(32, 40), (32, 40), (16, 40), (24, 40)]
    samples = [(np.zeros((3, *size), np.float32), np.zeros(size, np.int64)) for size in sizes]
    val = type("Val", (), {"__len__": lambda _: 4, "sample": lambda _, e, i: samples[i]})()
    held = {
        "settings": SimpleNamespace(evaluate=Evaluate()),
        "data": lambda: SimpleNamespace(val=val),
        "ask": ask_of(load_settings(TOY)),
    }
    return (
        SimpleNamespace(net=lambda: torch.nn.Conv2d(3, 2, 1), inference=TorchInference, **held),
        SimpleNamespace(net=lambda: Strict(3, 2, 1), inference=PaddleInference, **held),
    )


@pytest.mark.parametrize("multiple", [8, 16])
def test_validation_images_that_a_net_cannot_take_are_said_before_the_rungs(tmp_path, multiple):
    reproduction = Reproduction(TOY, tmp_path)
    reproduction.settings = load_settings(TOY)
    reproduction.recipe = SimpleNamespace(whole_parts=strict_parts(multiple))
    assert reproduction._did("validation", reproduction._validation) == (multiple == 8)
    (rung,) = reproduction.rungs
    said = ("16 x 40, 24 x 40, 32 x 40", "validation image 3, of size 24 x 40")[multiple > 8]
    assert said in rung.result


@pytest.mark.parametrize("code", [0, 1])
def test_evidence_that_a_grader_refuses_says_what_to_do(tmp_path, code):
    """Where the forward pass is aligned, it is what Paddle computes in float32."""
    reports = {"forward, eval": SimpleNamespace(exit_code=code)}
    exit_code, said = said_of({"forward/logits": 2.3e-6, "loss/loss": 0.0}, reports, tmp_path)
    assert exit_code == 0
    assert "graders refuse a mean above 1e-06: forward/logits" in printed(said)
    assert ("resize_bilinear" in printed(said)) == (code == 0)
