"""A new reproduction: what is written, asked and found, and what is said until it is whole."""

import argparse
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.nursery import run
from tests.paths import ROOT

pytest.importorskip("torch")
pytest.importorskip("paddle")

from commands.begin.answers import answers_of, questions
from commands.begin.files import config, stubs
from commands.begin.guess import nets_in
from common.errors import UserError
from common.settings.load import load_settings
from common.words import language
from common.words.language import said

EXAMPLE = ROOT / "examples" / "own_recipe"
ALL_OWN = ["--schedule", "own", "--metric", "own", "--augmentation", "own"]


def answered(folder, ask=None, **given):
    keys = {question.key for question in questions(folder)}
    options = argparse.Namespace(**(dict.fromkeys(keys) | given))
    return answers_of(options, folder, ask)


def states_of(folder, *options):
    done = run("new_reproduction", folder, "--json", *options)
    assert done.returncode in (0, 1), done.stderr
    told = json.loads(done.stdout)
    return done.returncode, told, {s["what"].split()[0]: s["code"] for s in told["states"]}


def test_untouched_stubs_say_where_they_are_to_be_filled_in(tmp_path):
    folder = tmp_path / "mine"
    code, told, found = states_of(folder, "--classes", 3, *ALL_OWN)
    assert code == 0
    assert {path.rpartition("/")[2] for path in told["written"]} == {
        *("mine.yml", "net_torch.py", "net_paddle.py", "recipe_torch.py", "recipe_paddle.py"),
        *("rates.py", "my_data.py"),
    }
    assert set(found.values()) == {1}
    assert len(found) == 11
    for state in told["states"]:
        file, _, line = state["said"].rpartition(":")
        assert "raise NotImplementedError" in Path(file).read_text().splitlines()[int(line) - 1]
    code, told, _ = states_of(folder)  # a second time nothing is asked or written
    assert (code, told["written"]) == (1, [])
    climbed = run("reproduce", folder / "mine.yml", "--output", tmp_path / "out", "--quiet")
    assert climbed.returncode == 2
    rungs = json.loads((tmp_path / "out" / "summary.json").read_text())["rungs"]
    said = {rung["name"]: rung["result"] for rung in rungs}
    assert "net_torch.py:" in said["checkpoint"]
    assert "my_data.py:" in said["data"]


def test_what_is_there_is_found_kept_and_checked(tmp_path):
    shutil.copytree(EXAMPLE, tmp_path / "mine", ignore=shutil.ignore_patterns("*.yml"))
    folder = tmp_path / "mine"
    kept = (folder / "net_torch.py").read_text()
    ours = ["--data", "cityscapes", "--loss", "cross_entropy", "--optimizer", "sgd"]
    _, told, found = states_of(folder, "--classes", 3, *ours)
    assert [path.rpartition("/")[2] for path in told["written"]] == ["mine.yml"]
    assert (folder / "net_torch.py").read_text() == kept
    assert found == {"model.torch": 0, "model.paddle": 0, "both": 0, "data": 2}
    assert "model.num_classes is 3, but cityscapes has 19" in told["states"][-1]["said"]
    (folder / "mine.yml").unlink()
    _, told, _ = states_of(folder, "--classes", 3, *ours[2:], "--data", "list")
    assert "no list train.txt" in told["states"][-1]["said"]
    shutil.copy(EXAMPLE / "my_net.yml", folder / "mine.yml")
    code, told, found = states_of(folder)
    assert code == 0, told
    assert set(found.values()) == {0}
    said = {state["what"]: state["said"] for state in told["states"]}
    assert "6 training, 6 validation samples" in said["data"]


def test_names_that_differ_are_told_by_a_command_that_works(tmp_path):
    """The advice is typed as it is printed, from the user's folder, then its result is taken."""
    shutil.copytree(EXAMPLE, tmp_path / "mine")
    folder = tmp_path / "mine"
    text = (folder / "net_paddle.py").read_text()
    (folder / "net_paddle.py").write_text(text.replace("self.stem", "self.entry"))
    done = run("new_reproduction", ".", cwd=folder)
    assert done.returncode == 1
    assert max(map(len, done.stdout.splitlines())) < 300
    advice = next(line for line in done.stdout.splitlines() if "--propose" in line)
    _, script, *words = shlex.split(advice.split("`")[1])
    proposed = run(Path(script).stem, *words, cwd=folder)
    assert proposed.returncode == 0, proposed.stderr
    assert "set model.rules: map.yml in my_net.yml" in advice
    text = (folder / "my_net.yml").read_text()
    (folder / "my_net.yml").write_text(text.replace("model:\n", "model:\n  rules: map.yml\n"))
    code, told, found = states_of(folder)
    assert (code, set(found.values())) == (0, {0}), told


def test_questions_are_asked_where_somebody_answers(tmp_path):
    asked = []

    def ask(text):
        asked.append(text)
        return {"number of classes: ": "7", "metric": "own"}.get(text, "")

    found = answered(tmp_path, ask, loss="ohem")
    assert (found["classes"], found["loss"], found["schedule"]) == (7, "ohem", "poly")
    assert len(asked) == len(questions(tmp_path)) - 1
    with pytest.raises(UserError, match="--classes is not given, and cannot be guessed"):
        answered(tmp_path)
    with pytest.raises(UserError, match="--loss nope: choose one of own, stdc"):
        answered(tmp_path, classes="3", loss="nope")
    with pytest.raises(UserError, match="--input-shape 3 4: expected N C H W"):
        answered(tmp_path, classes="3", input_shape="3 4")


NETS = """
import torch
from torch import nn

class Block(nn.Module):
    pass

class Net(Block):
    def __init__(self, width, num_classes=2):
        super().__init__()
"""


def test_nets_checkpoint_and_the_name_of_the_classes_are_guessed(tmp_path):
    (tmp_path / "their_net.py").write_text(NETS)
    (tmp_path / "their.pth").write_bytes(b"")
    found = answered(tmp_path, classes="5")
    assert (found["torch"], found["paddle"]) == ("their_net:Net", "net_paddle:build")
    assert found["checkpoint"] == "their.pth"
    assert found["takes"] == {"torch": "num_classes", "paddle": "classes"}
    assert "their_net.py" not in stubs(found)
    text = config(found)
    assert "torch_args: {num_classes: 5}" in text
    assert "path: their.pth" in text


def test_nets_in_packages_are_guessed_where_one_stands_alone(tmp_path):
    files = {
        "model/DABNet.py": "from torch import nn\nclass Net(nn.Module): pass\n",
        "utils/loss.py": "from torch import nn\nclass OhemCrossEntropy(nn.Module): pass\n",
        "data/sets.py": "from torch.utils import data\ndef build_sets(): pass\n",
        "models/layers.py": "from paddle import nn\nclass Conv(nn.Layer): pass\n",
        "models/net.py": "from paddle.nn import Layer\nfrom .layers import Conv\n",
        "wrong.py": "this is no Python",
    }
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    (tmp_path / "models/net.py").write_text(f"{files['models/net.py']}class Net(Layer): ...\n")
    assert nets_in(tmp_path, "torch") == ["model.DABNet:Net"]
    assert nets_in(tmp_path, "paddle") == ["models.net:Net"]
    (tmp_path / "utils/other.py").write_text(files["model/DABNet.py"])
    both = ["model.DABNet:Net", "utils.other:Net"]
    assert nets_in(tmp_path, "torch") == both  # which of the two is not known: the config says so
    text = config(answered(tmp_path, classes="5"))
    assert "torch: net_torch:build  # here: model.DABNet:Net, utils.other:Net\n" in text
    assert "paddle: models.net:Net\n" in text
    (tmp_path / "main.py").write_text("import torch\ndef build(): pass\n")
    assert nets_in(tmp_path, "torch") == ["main:build"]


def test_the_net_is_not_one_of_its_parts(tmp_path):
    """A repository as many are: parts in one file, the net in another that has all of them."""
    files = {
        "blocks.py": "from torch import nn\nclass Block(nn.Module): pass\n",
        "net.py": "from blocks import *\nclass Net(nn.Module): pass\nclass BigNet(Net): pass\n",
        "losses.py": "import torch.nn as nn\nclass BootstrappedCE(nn.Module): pass\n",
        "sets.py": "import torch\ndef build_transform(size): return size\n",
        "train.py": "import torch\nfrom net import Net\ndef main(): Net()\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert nets_in(tmp_path, "torch") == ["net:BigNet"]
    assert nets_in(tmp_path, "paddle") == []
    (tmp_path / "net.py").write_text(files["net.py"] + "def build_it(size): return Net()\n")
    assert nets_in(tmp_path, "torch") == ["net:build_it"]


@pytest.mark.parametrize("question", ["data", "loss", "optimizer", "schedule", "metric"])
def test_every_choice_makes_a_config_that_can_be_read(tmp_path, question):
    choices = next(each.choices for each in questions(tmp_path) if each.key == question)
    for choice in choices:
        path = tmp_path / "one.yml"
        path.write_text(config(answered(tmp_path, classes="3", **{question: choice})))
        assert load_settings(path).name == tmp_path.name


def test_it_speaks_chinese(tmp_path):
    done = run("new_reproduction", tmp_path / "mine", "--classes", 3, "--yes", "--lang", "zh")
    assert done.returncode == 0, done.stderr
    assert "已写入：" in done.stdout
    assert done.stdout.count("待填写") >= 5
    assert "处需要填写或修正；然后运行：" in done.stdout
    left = re.sub(r"\S*[./:]\S*|\bpython\b|\breproduce\b", "", done.stdout)
    assert not re.search("[a-z]{3}", left), left


@pytest.mark.parametrize("key", ["name", "data", "loss", "metric", "checkpoint"])
def test_its_questions_are_chinese(tmp_path, monkeypatch, key):
    monkeypatch.setattr(language, "_chosen", [language.CHINESE])
    (question,) = (one for one in questions(tmp_path) if one.key == key)
    assert re.search("[\u4e00-\u9fff]", said(question.text))


FORWARD = """
    def hook(self):
        raise NotImplementedError

    def forward(self, image):
        if image.ndim != 4:
            raise NotImplementedError("volumes")
"""


def test_only_a_stub_that_does_nothing_else_is_to_be_filled_in(tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(EXAMPLE, folder)
    for side in ("torch", "paddle"):
        file = folder / f"net_{side}.py"
        text = file.read_text().replace("\n    def forward(self, image):\n", FORWARD, 1)
        file.write_text(text)
    config = folder / "my_net.yml"
    config.write_text(config.read_text().replace(":build", ":Net"))
    code, told, found = states_of(folder)
    assert code == 0, told
    stub = (
        (folder / "net_torch.py")
        .read_text()
        .replace("        self.right, self", "        pass #", 1)
    )
    start = stub.index("        kept = label")
    stub = (
        stub[:start]
        + "        raise NotImplementedError\n\n"
        + stub[stub.index("    def compute") :]
    )
    (folder / "net_torch.py").write_text(stub)
    code, _, found = states_of(folder)
    assert (code, found["metric.torch"]) == (1, 1)
    done = run("new_reproduction", folder)
    assert "1 thing is to be filled in or mended" in done.stdout


def test_a_checkpoint_of_any_name_and_schedules_that_are_there_are_taken(tmp_path):
    import torch

    from convert import read_checkpoint

    weights = {"weight": torch.zeros(2)}
    torch.save(weights, tmp_path / "ENet")
    recipe = "def schedule(*optimizer):\n    ...\n\n"
    recipe += "class MeanIoU:\n    def update(self, p, y):\n        ...\n"
    for side in ("torch", "paddle"):
        (tmp_path / f"recipe_{side}.py").write_text(recipe)
    answers = answered(tmp_path, classes="3", schedule="own", metric="own")
    assert answers["checkpoint"] == "ENet"
    assert list(read_checkpoint(tmp_path / "ENet")) == ["weight"]
    assert "rates.py" not in stubs(answers)
    text = config(answers)
    assert "schedule: {torch: recipe_torch:schedule, paddle: recipe_paddle:schedule}" in text
    assert "metric: {torch: recipe_torch:MeanIoU, paddle: recipe_paddle:MeanIoU}" in text
    torch.save(weights, tmp_path / "old", _use_new_zipfile_serialization=False)
    answers = answered(tmp_path, classes="3")
    assert answers["checkpoint"] == ""
    assert "# weights: {path: ...}  # of the authors, in PyTorch; here: ENet, old" in config(
        answers
    )


STRICT = """
    def forward(self, image):
        assert image.shape[2] % 32 == image.shape[3] % 32 == 0, "multiples of 32"
"""


def test_validation_images_that_a_net_cannot_take_are_said_before_any_training(tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(EXAMPLE, folder)
    file = folder / "net_paddle.py"
    file.write_text(file.read_text().replace("\n    def forward(self, image):\n", STRICT, 1))
    code, told, found = states_of(folder)
    assert (code, found["validation"]) == (1, 2)
    said = told["states"][-1]["said"]
    assert "validation image 0, of size 48 x 64" in said
    assert "net_paddle.py:" in said
    trained = run("train_paddle", "my_net.yml", "data.crop_hw=[32, 64]", cwd=folder)
    assert trained.returncode == 2
    assert "validation image 0, of size 48 x 64" in trained.stderr
    assert "set evaluate.pad_to_multiple: 32" in trained.stderr
    config = folder / "my_net.yml"
    config.write_text(config.read_text() + "evaluate: {pad_to_multiple: 32}\n")
    assert "evaluate:" not in (EXAMPLE / "my_net.yml").read_text()
    code, told, found = states_of(folder)
    assert (code, found["validation"]) == (0, 0)
    assert "both nets take 48 x 64" in told["states"][-1]["said"]
