"""A config that names a user's own things, through the commands: examples/own_recipe."""

import json
import shutil

import numpy as np
import pytest

from tests.commands.own_recipe import RUNGS, climb, log_of, replace
from tests.nursery import run, run_script
from tests.paths import TOOLS

pytest.importorskip("torch")
pytest.importorskip("paddle")


@pytest.mark.parametrize("framework", ["torch", "paddle"])
def test_training_takes_all_from_the_users_modules_and_resumes_to_the_bit(
    mine, tmp_path, framework
):
    """From another folder: modules are found beside the config."""
    tool, config = f"train_{framework}", mine / "my_net.yml"
    often = ["train.checkpoint_interval=4", "train.keep=9"]
    whole = run(tool, config, "output=whole", "--json", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    result = json.loads(whole.stdout)
    assert result["best_metric"] == result["validation"]["metric"]
    rates = [row["lr"] for row in log_of(tmp_path / "whole") if "lr" in row]
    assert rates == pytest.approx([0.05 * 0.9**step for step in (1, 3, 5, 7)])
    assert run(tool, config, "output=part", *often, cwd=tmp_path).returncode == 0
    shutil.rmtree(tmp_path / "part" / "checkpoints" / "iteration_00000008")
    assert run(tool, config, "output=part", "--resume", "auto", cwd=tmp_path).returncode == 0
    assert log_of(tmp_path / "part") == log_of(tmp_path / "whole")


def test_our_parts_go_with_the_users_net_and_the_users_parts_with_ours(mine):
    ours = ["loss.name=cross_entropy", "optimizer.name=sgd", "metric.name=task"]
    ours += ["schedule.name=poly", "schedule.base_lr=0.1", "data.augmentation.name=none"]
    done = run("train_torch", "my_net.yml", *ours, "--json", cwd=mine)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["best_metric"] is None
    net = ["model.name=unet", "model.num_classes=3", "model.options.width=0.125"]
    done = run("train_paddle", "my_net.yml", *net, "output=ours", "data.workers=1", cwd=mine)
    assert done.returncode == 0, done.stderr


WRONG = {
    "loss raises": ("net_torch.py", "F.cross_entropy(outputs, label", "F.nope(outputs, label",
                    ["loss.torch net_torch:loss raises AttributeError", "net_torch.py:"]),
    "no data set": ("my_data.py", "def __len__", "def length",
                    ["data.both my_data:Squares, split train", "without __len__"]),
    "strange image": ("my_data.py", "return image, label\n\n\n", "return image / 2, label\n\n\n",
                      ["data.both my_data:Squares, item ", "its image is float64 [48, 64, 3]"]),
    "strange label": ("my_data.py", "np.zeros((48, 64), np.uint8)", "np.zeros((48, 64)) - 1",
                      ["its label is float64 [48, 64]", "expected whole numbers"]),
    "augmentation raises": ("my_data.py", "image[:, ::-1], label", "imag[:, ::-1], label",
                            ["data.augmentation.both my_data:flip: NameError", "my_data.py:"]),
    "no scheduler": ("net_torch.py", "return torch.optim.lr_scheduler.ExponentialLR(", "return (",
                     ["schedule.torch net_torch:schedule: returned builtins.tuple, expected"]),
    "no optimizer": ("net_torch.py", "return torch.optim.SGD(", "return dict(",
                     ["optimizer.torch net_torch:optimizer: ValueError"]),
    "metric raises": ("net_torch.py", "self.right / max", "self.wright / max",
                      ["metric.torch net_torch:Accuracy, compute: AttributeError"]),
    "no module": ("my_net.yml", "net_torch:loss", "net_tosh:loss",
                  ["loss.torch net_tosh:loss: cannot import net_tosh"]),
    "no such name": ("my_net.yml", "net_torch:build", "net_torch:Built",
                     ["model.torch net_torch:Built: net_torch has no Built; it has Net, build"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_errors_name_the_key_and_the_users_line(mine, case):
    file, old, new, words = WRONG[case]
    replace(mine, file, old, new)
    done = run("train_torch", "my_net.yml", "--quiet", cwd=mine)
    assert done.returncode == 2
    error = done.stderr.splitlines()[-1]
    assert error.startswith("error: ")
    for word in words:
        assert word in error
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("rung", RUNGS)
def test_the_right_port_climbs_every_rung(mine, rung):
    code, report = climb(rung, mine)
    assert code == 0, report["divergences"]
    assert report["calls"]
    assert " at attribute:" not in report["verdict"]


PADDLE = "net_paddle.py"
FAULTS = {
    "decay of the schedule": ("training", PADDLE, "gamma=0.9", "gamma=0.95",
                              ["lr", "(optimizer)"]),
    "a schedule that parts late": (
        "training", PADDLE,
        "paddle.optimizer.lr.ExponentialDecay(lr, gamma)",
        "paddle.optimizer.lr.LambdaDecay(lr, lambda step: gamma**step * (1 if step < 6 else 2))",
        ["lr", "(optimizer)"],
    ),
    "rate of the schedule": ("training", PADDLE, "def schedule(gamma=0.9, lr=0.05)",
                             "def schedule(gamma=0.9, lr=0.5)", ["lr", "(optimizer)"]),
    "momentum": ("training", PADDLE, "Momentum(lr, 0.9,", "Momentum(lr, 0.8,", ["weight:weight"]),
    "decay of the optimizer": ("step", PADDLE, "weight_decay=1e-4", "weight_decay=1e-3",
                               ["weight:weight"]),
    "metric": ("metric", PADDLE, "kept = label != 255", "kept = label != 0", ["output:0"]),
    "void in the metric": ("metric", PADDLE, "label != 255", "label != 254", ["output:0"]),
    "void alone in the metric": ("metric", PADDLE, "self.right / max(self.all, 1)",
                                 "self.right / self.all if self.all else 1.0",
                                 ["made batch (void alone)", "output:0"]),
    "loss": ("loss", PADDLE, "axis=1)", 'axis=1, reduction="sum")', ["loss:0"]),
    "augmentation": ("data", "my_net.yml", "{both: my_data:flip}",
                     "{torch: my_data:flip, paddle: my_data:other_flip}", ["image"]),
    "data": ("data", "my_net.yml", "both: my_data:Squares",
             "torch: my_data:Squares\n  paddle: my_data:OtherSquares", ["image"]),
    "a generator of its own": ("data", "my_data.py", "    if rng.random() < share",
                               "    if np.random.default_rng().random() < share", ["image"]),
    "net": ("forward, eval", PADDLE, 'mode="bilinear"', 'mode="nearest"', ["output:0"]),
    "initialisation": ("init", PADDLE, "weight_attr=last, bias_attr=last", "weight_attr=last",
                       ["head", "weight:bias"]),
}  # fmt: skip
OTHERS = """

def other_flip(image, label, rng, share=0.5):
    return (image[::-1], label[::-1]) if rng.random() < share else (image, label)


class OtherSquares(Squares):
    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return image[..., ::-1], label
"""


@pytest.mark.parametrize("fault", FAULTS)
def test_the_wrong_one_is_found_at_its_rung(mine, fault):
    rung, file, old, new, places = FAULTS[fault]
    (mine / "my_data.py").write_text((mine / "my_data.py").read_text() + OTHERS)
    replace(mine, file, old, new)
    code, report = climb(rung, mine)
    assert code == 1
    found = report["divergences"]
    assert found
    assert {place for each in found for place in (each["where"], each["layer"])} >= set(places)


def test_data_without_void_are_not_asked_about_it(mine):
    """A label that has it all the same is found: nothing passes by saying so."""
    replace(mine, PADDLE, "self.right / max(self.all, 1)",
            "self.right / self.all if self.all else 1.0")  # fmt: skip
    code, report = climb("metric", mine)
    assert code == 1
    assert any("metric.void: false" in note for note in report["notes"])
    replace(mine, "my_net.yml", "metric: {", "metric: {void: false, ")
    done = run("align_stage", "metric", "my_net.yml", cwd=mine)
    assert done.returncode == 2
    assert "metric.void is false, but " in done.stderr
    replace(mine, "my_data.py", "= 255", "= 0")
    code, report = climb("metric", mine)
    assert code == 0
    assert "metric.void is false" in report["notes"][-1]


def test_a_schedule_that_parts_late_is_found_at_its_step(mine):
    replace(mine, *FAULTS["a schedule that parts late"][1:4])
    _, report = climb("training", mine)
    assert [each["step"] for each in report["divergences"]] == [6]


def summary_of(folder):
    return {
        rung["name"]: rung for rung in json.loads((folder / "summary.json").read_text())["rungs"]
    }


def test_reproduce_climbs_it_all_into_one_folder(mine):
    done = run("reproduce", "my_net.yml", "--both", "--output", "out", cwd=mine)
    assert done.returncode == 0, done.stdout + done.stderr
    rungs = summary_of(mine / "out")
    assert list(rungs) == [
        *("checkpoint", "convert", "validation", "weights", "init"),
        *(
            "forward, eval",
            "forward, train",
            "backward",
            "data",
            "loss",
            "metric",
            "training",
            "export",
            "evidence",
            "train",
        ),
        *("train, reference", "train_align"),
    ]
    names = ["forward", "data", "metric", "loss", "bp_align"]
    files = [f"{name}_{side}.npy" for name in names for side in ("reference", "paddle")]
    files += ["train_align_benchmark.npy", "train_align_paddle.npy", "train_align_diff.log"]
    losses = [[row for row in log_of(mine / "out" / name) if "loss" in row]
              for name in ("train", "train_torch")]  # fmt: skip
    assert len(losses[0]) == 4
    for ours, theirs in zip(*losses, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    folder = mine / "out"
    handed_in = [*(f"evidence/{file}" for file in files), "model.pdparams", "loss.png"]
    assert not [name for name in handed_in if not (folder / name).is_file()]
    scores = np.load(folder / "evidence" / "metric_paddle.npy", allow_pickle=True).item()
    assert list(scores) == ["metric"]


def test_a_checkpoint_is_converted_and_is_where_all_begins(mine):
    """Also where the port calls layers otherwise: the config names the rules."""
    for old in ("self.stem = ", "self.stem("):
        replace(mine, "net_paddle.py", old, old.replace("stem", "entry"))
    (mine / "map.yml").write_text("renames:\n  - match: '^stem\\.'\n    to: 'entry.'\n")
    replace(mine, "my_net.yml", "  num_classes: 3\n", "  num_classes: 3\n  rules: map.yml\n")
    code = "import torch, net_torch; torch.manual_seed(7); "
    code += "torch.save({'net': net_torch.build().state_dict()}, 'model.pth')"
    (mine / "make.py").write_text(code)
    assert run_script(mine / "make.py", cwd=mine).returncode == 0
    text = (mine / "my_net.yml").read_text()
    (mine / "my_net.yml").write_text(text + "weights: {path: model.pth}\n")
    done = run("convert_weights", "my_net.yml", cwd=mine)
    assert done.returncode == 0, done.stderr
    assert f"{TOOLS}/align_forward.py my_net.yml" in done.stdout
    assert (mine / "model.pdparams").is_file()
    assert climb("forward, eval", mine)[0] == 0
    done = run("train_paddle", "my_net.yml", "train.iterations=1", "--quiet", cwd=mine)
    assert done.returncode == 0, done.stderr
    done = run("reproduce", "my_net.yml", "--fast", "--output", "out", cwd=mine)
    assert done.returncode == 0, done.stdout + done.stderr
    assert summary_of(mine / "out")["checkpoint"]["result"] == "model.pth"


def test_what_is_not_filled_in_yet_is_said_and_the_rest_is_climbed(mine):
    replace(
        mine, "net_paddle.py", "    return Net(classes)", "    raise NotImplementedError('soon')"
    )
    done = run("reproduce", "my_net.yml", "--output", "out", "--quiet", cwd=mine)
    assert done.returncode == 2, done.stderr
    rungs = summary_of(mine / "out")
    assert "model.paddle net_paddle:build: NotImplementedError: soon" in rungs["convert"]["result"]
    assert "net_paddle.py:" in rungs["convert"]["result"]
    assert rungs["data"]["exit_code"] == 0
    assert {rungs[name]["exit_code"] for name in ("weights", "backward", "training")} == {2}


def test_convert_says_what_a_config_lacks(mine):
    done = run("convert_weights", "my_net.yml", cwd=mine)
    assert done.returncode == 2
    assert "weights.path is not set; it names the checkpoint to convert" in done.stderr


def test_the_users_parts_may_stand_for_both_sides(mine):
    both = """

def rate(step, base=0.1):
    return base / (1 + step)


def accuracy(prediction, label):
    return float((prediction == label)[label != 255].mean())
"""
    (mine / "my_data.py").write_text((mine / "my_data.py").read_text() + both)
    config = (mine / "my_net.yml").read_text()
    config = config.replace("{torch: net_torch:schedule, paddle: net_paddle:schedule}",
                            "{both: my_data:rate, args: {base: 0.05}}")  # fmt: skip
    config = config.replace("{torch: net_torch:Accuracy, paddle: net_paddle:Accuracy}",
                            "{both: my_data:accuracy}")  # fmt: skip
    (mine / "my_net.yml").write_text(config)
    for rung in ("metric", "training"):
        code, report = climb(rung, mine)
        assert code == 0, report["divergences"]
    done = run("train_paddle", "my_net.yml", "--json", "train.log_interval=1", cwd=mine)
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout)["validation"]
    assert last["metric"] == pytest.approx(last["pixel_accuracy"], abs=1e-3)  # mean of batches
    log = log_of(mine / "runs" / "my_net_paddle")
    rates = [row["lr"] for row in log if "lr" in row]
    assert rates == pytest.approx([0.05 / (1 + step) for step in range(8)])


READY = """

class Ready(Squares):
    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        pixels = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
        return pixels / np.float32(127.5) - np.float32(1), label
"""


def test_images_that_are_ready_for_the_net_are_taken_as_they_are(mine):
    (mine / "my_data.py").write_text((mine / "my_data.py").read_text() + READY)
    own = ["data.both=my_data:Ready"]
    done = run("train_torch", "my_net.yml", *own, cwd=mine)
    assert done.returncode == 2
    assert "item " in done.stderr
    assert "ready for the net, and data.augmentation would change it" in done.stderr
    own.append("data.augmentation.name=none")
    done = run("train_torch", "my_net.yml", *own, "--json", cwd=mine)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["validation"]["mean_iou"] > 0
    assert climb("data", mine, *own)[0] == 0


SIDES = """
import numpy as np, paddle, torch
from my_data import Squares


def turned(split, index):
    image, label = Squares(split)[index]
    if np.random.rand() < 0.5:
        image, label = image[:, ::-1], label[:, ::-1]
    return image.transpose(2, 0, 1).astype(np.float32) / 255, label.astype(np.int64)


class Theirs(torch.utils.data.Dataset):
    def __init__(self, split):
        self.split = split

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return tuple(map(torch.from_numpy, turned(self.split, index)))


class Ours(paddle.io.Dataset):
    def __init__(self, split, local=False):
        self.split = split
        self.held = (lambda: None) if local else None

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return turned(self.split, index)


class TheirLoss(torch.nn.Module):
    def __init__(self, void):
        super().__init__()
        self.void, self.scale = void, torch.nn.Parameter(torch.ones(()))

    def forward(self, outputs, label):
        found = torch.nn.functional.cross_entropy(outputs, label, ignore_index=self.void)
        return self.scale * found


class OurLoss(paddle.nn.Layer):
    def __init__(self, void):
        super().__init__()
        one = paddle.nn.initializer.Constant(1.0)
        self.void, self.scale = void, self.create_parameter([], default_initializer=one)

    def forward(self, outputs, label):
        found = paddle.nn.functional.cross_entropy(outputs, label, ignore_index=self.void, axis=1)
        return self.scale * found
"""


def test_data_sets_of_either_framework_and_losses_with_weights(mine):
    (mine / "sides.py").write_text(SIDES)
    data = ["data.torch=sides:Theirs", "data.paddle=sides:Ours", "data.both=null"]
    loss = ["loss.torch=sides:TheirLoss", "loss.paddle=sides:OurLoss", "loss.args.void=255"]
    both = [*data, "data.augmentation.name=none", *loss]
    for rung in ("data", "loss", "step"):
        code, report = climb(rung, mine, *both)
        assert code == 0, report["divergences"]
    logs = []
    for workers in (0, 1):
        how = [f"data.workers={workers}", f"output=with_{workers}", "--quiet"]
        done = run("train_paddle", "my_net.yml", *both, *how, cwd=mine)
        assert done.returncode == 0, done.stderr
        logs.append(log_of(mine / f"with_{workers}"))
    assert logs[0] == logs[1]
    local = ["data.paddle_args.local=true", "data.workers=1", "output=local"]
    done = run("train_paddle", "my_net.yml", *both, *local, cwd=mine)
    assert done.returncode == 2
    error = done.stderr.splitlines()[-1]
    assert "data.paddle sides:Ours, split train: cannot be handed to processes" in error


def test_the_line_of_a_difference_says_its_step(mine):
    replace(mine, *FAULTS["a schedule that parts late"][1:4])
    done = run("align_training", "my_net.yml", cwd=mine)
    assert "- (optimizer) lr in step 6: off by 0.53" in done.stdout
    assert "2 times the reference's" in done.stdout


def test_names_that_differ_are_proposed_tried_and_then_taken(mine):
    """What every message advises is done."""
    for old in ("self.stem = ", "self.stem("):
        replace(mine, "net_paddle.py", old, old.replace("stem", "entry"))
    done = run("reproduce", "my_net.yml", "--output", "out", "--quiet", cwd=mine)
    assert done.returncode == 1
    result = summary_of(mine / "out")["convert"]["result"]
    assert f"{TOOLS}/align_forward.py my_net.yml --propose map.yml" in result
    done = run("align_forward", "my_net.yml", "--propose", "map.yml", cwd=mine)
    assert done.returncode == 0, done.stderr
    assert f"{TOOLS}/align_forward.py my_net.yml --rules map.yml" in done.stdout
    assert run("align_forward", "my_net.yml", "--rules", "map.yml", cwd=mine).returncode == 0
    assert climb("step", mine, "model.rules=map.yml")[0] == 0
    done = run("align_forward", "my_net.yml", "--inputs", "batch.npz", cwd=mine)
    assert done.returncode == 2
    assert "--inputs goes with --torch and --paddle" in done.stderr


def test_labels_without_void_show_nothing_of_it(mine):
    replace(mine, "my_data.py", "        label[20:24] = 255  # void: does not count\n", "")
    said = "no pixel of these labels is void (255)"
    code, report = climb("loss", mine)
    assert code == 0
    assert any(said in note for note in report["notes"])
    ours = climb("loss", mine, "loss.name=cross_entropy", "metric.name=task")[1]["notes"]
    assert not [note for note in ours if "void" in note]
    code, report = climb("metric", mine)  # which makes batches with void
    assert code == 0
    assert not any(said in note for note in report["notes"])


ROOTED = """

class Rooted(Squares):
    def __init__(self, split, root):
        super().__init__(split)
        self.files = sorted(Path(root).glob("*.png"))

    def __len__(self):
        return len(self.files)
"""


def test_the_root_of_own_data_is_found_beside_the_config(mine, tmp_path):
    data = (mine / "my_data.py").read_text()
    (mine / "my_data.py").write_text("from pathlib import Path\n" + data + ROOTED)
    replace(mine, "my_net.yml", "both: my_data:Squares", "both: my_data:Rooted\n  root: pixels")
    from_above = ["align_stage", "data", "mine/my_net.yml"]
    done = run(*from_above, cwd=tmp_path)
    assert done.returncode == 2
    assert "split train: has no sample" in done.stderr
    assert f"data.root is {tmp_path / 'pixels'}, which is not there, nor beside" in done.stderr
    (mine / "pixels").mkdir()
    for number in range(6):
        (mine / "pixels" / f"{number}.png").touch()
    done = run(*from_above, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
