"""Errors that people meet first are Chinese as a whole, through the commands; JSON is the same."""

import json
import re

import numpy as np
import pytest
import torch

from tests import nursery
from tests.commands.mistakes import BAD, GOOD
from tests.paths import ROOT

# Three words of English, one behind the other; what the user's code raises is the user's.
SENTENCE = re.compile(r"(?<![`\w./:-])[A-Za-z][a-z]+(?: [a-z]+){2,}")
CONFIG = str(ROOT / "configs" / "stdc1_toy.yml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "good.py").write_text(GOOD)
    (folder / "bad.py").write_text(BAD)
    (folder / "empty.pth").touch()
    (folder / "page.pth").write_text("<html>")
    torch.save({"fc.weight": torch.zeros(2, 3)}, folder / "other.pth")
    torch.save({"0.weight": torch.zeros(2, 3), "0.bias": torch.zeros(2)}, folder / "good.pth")
    torch.save({"a": {"x": torch.zeros(2)}, "b": {"x": torch.zeros(2)}}, folder / "two.pth")
    (folder / "cut.pth").write_bytes((folder / "two.pth").read_bytes()[:300])
    (folder / "twice.yml").write_text("seed: 1\nseed: 2\n")
    (folder / "list.yml").write_text("- 1\n")
    (folder / "base.yml").write_text("_base_: nowhere.yml\n")
    (folder / "keys.yml").write_text(f"_base_: {CONFIG}\ntrain: {{iteration: 3}}\n")
    np.savez(folder / "gap.npz", arr_0=np.zeros(2), arr_2=np.zeros(2))
    (folder / "text.npz").write_text("no arrays")
    (folder / "report.json").write_text("{}")
    (folder / "run").mkdir()
    return folder


def nets(torch_net="good:Theirs", paddle_net="good:Ours"):
    return ("--torch", torch_net, "--paddle", paddle_net, "--input-shape", "4", "4")


MISTAKES = {
    "no config": ("train_paddle", "nope.yml"),
    "near a config": ("train_paddle", f"{CONFIG[:-5]}i.yml"),
    "a base": ("train_paddle", "base.yml"),
    "a list": ("train_paddle", "list.yml"),
    "near a key": ("train_paddle", "keys.yml"),
    "wrong values": ("train_paddle", CONFIG, "train.iterations=x", "data.batch_size=0"),
    "near a kind": ("train_paddle", CONFIG, "data.dataset=citiscapes", "model.name=stdc1"),
    "no override": ("train_paddle", CONFIG, "=3"),
    "a contradiction": ("train_paddle", CONFIG, "evaluate.scales=[1,2]", "evaluate.scale=0.5"),
    "number of classes": ("train_paddle", CONFIG, "model.num_classes=3", "data.root=nowhere"),
    "no data": ("train_paddle", CONFIG, "data.root=nowhere"),
    "data": ("check_data", CONFIG, "data.root=nowhere"),
    "no checkpoint": ("convert_weights", "nope.pth"),
    "an empty file": ("convert_weights", "empty.pth"),
    "a web page": ("convert_weights", "page.pth"),
    "a cut file": ("convert_weights", "cut.pth"),
    "two state dicts": ("convert_weights", "two.pth"),
    "does not fit": ("convert_weights", "other.pth", "--model", "good:Ours"),
    "no folder": ("convert_weights", "other.pth", "--output", "nowhere/x.pdparams"),
    "no row": ("align_forward", "--model", "stdc9"),
    "no module": ("align_forward", *nets("nomod:net")),
    "no name": ("align_forward", *nets("good:net")),
    "no callable": ("align_forward", *nets("bad:value")),
    "not a spec": ("align_forward", *nets("good")),
    "net raises": ("align_forward", *nets("bad:net_raises")),
    "net exits": ("align_forward", *nets("bad:net_exits")),
    "needs a width": ("align_forward", *nets("bad:net_needs")),
    "a class": ("align_forward", *nets("bad:a_class")),
    "nothing": ("align_forward", *nets("bad:nothing")),
    "forward raises": ("align_forward", *nets("bad:TheirsRaises")),
    "no inputs": ("align_forward", "--torch", "good:Theirs", "--paddle", "good:Ours"),
    "a gap": ("align_forward", *nets()[:4], "--inputs", "gap.npz"),
    "no arrays": ("align_forward", *nets()[:4], "--inputs", "text.npz"),
    "weights of another": ("align_forward", *nets(), "--weights", "other.pth"),
    "no trace": ("align_forward", "--paddle", "good:Ours", "--force", "run"),
    "no losses": ("align_training", *nets()[:4], "--inputs", "gap.npz"),
    "no photo": ("predict", "--model", "run", "x.jpg"),
    "no report": ("report", "nope.json"),
    "another report": ("report", "report.json"),
    "a folder": ("reproduce", CONFIG, "--checkpoint", "nope.pth"),
    "a file": ("new_reproduction", "good.py"),
    "never replaced": ("make_toy_cityscapes", "."),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_chinese(mistake, folder):
    tool, *arguments = MISTAKES[mistake]
    done = nursery.run(tool, *arguments, "--lang", "zh", cwd=folder)
    assert done.returncode in (1, 2)
    said = done.stderr.rpartition("错误：")[2]
    for own in ("no such width", "not today", "No module named"):  # what the net, or Python, says
        said = said.replace(own, "")
    found = SENTENCE.findall(re.sub(r"^ {4}.*$|'[^']*'|\(\S*, in \w+\)", "", said, flags=re.M))
    assert "错误：" in done.stderr
    assert not found, done.stderr


def test_json_is_the_same_in_both_languages(folder):
    arguments = ("convert_weights", "good.pth", "--generic", "--json", "--output")
    english, chinese = (
        json.loads(nursery.run(*arguments, f"{name}.pdparams", "--lang", name, cwd=folder).stdout)
        for name in ("en", "zh")
    )
    same = [{k: v for k, v in each.items() if k not in OF_THE_FILE} for each in (english, chinese)]
    assert same[0] == same[1]


OF_THE_FILE = ("output",)
