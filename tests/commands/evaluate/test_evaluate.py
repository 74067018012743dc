"""The command `evaluate`: both frameworks, protocols, exit codes, on the example's own config."""

import argparse
import json
import shutil

import numpy as np
import pytest

from commands.evaluate.options import add_protocol, overrides
from common.settings.load import load_settings
from tests.nursery import run
from tests.paths import CONFIGS, ROOT

pytest.importorskip("torch")
pytest.importorskip("paddle")

EAGER = ("--engine", "eager")


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A copy of the example, with trained.pth and the same weights as Paddle's."""
    folder = tmp_path_factory.mktemp("eval") / "mine"
    shutil.copytree(ROOT / "examples" / "own_recipe", folder)
    done = run("train_torch", "my_net.yml", "output=run", "--quiet", cwd=folder)
    assert done.returncode == 0, done.stderr
    shutil.copy(folder / "run" / "final.pth", folder / "trained.pth")
    return folder


def evaluated(folder, *arguments):
    done = run("evaluate", "my_net.yml", *arguments, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_checkpoint_of_torch_scores_the_same_on_either_side(mine):
    theirs = evaluated(mine, "--weights", "trained.pth", "--framework", "torch")
    ours = evaluated(mine, "--weights", "trained.pth", *EAGER)
    assert ours["confusion"] == theirs["confusion"]
    assert sum(ours["conversion"].values()) > 0
    assert ours["metric"] == theirs["metric"] == ours["pixel_accuracy"]  # the user's own
    assert ours["images"] * 48 * 64 >= ours["pixels"] > 0
    counts = np.array(ours["confusion"])
    iou = np.diag(counts) / (counts.sum(0) + counts.sum(1) - np.diag(counts))
    assert list(ours["iou"].values()) == iou.tolist()
    assert ours["mean_iou"] == pytest.approx(iou.mean())
    flipped = evaluated(mine, "--weights", "trained.pth", *EAGER, "--scales", "0.5,1", "--flip")
    assert flipped["protocol"]["scales"] == [0.5, 1.0]
    assert flipped["confusion"] != ours["confusion"]
    theirs = ("--framework", "torch", "--scales", "0.5,1", "--flip")
    assert evaluated(mine, "--weights", "trained.pth", *theirs)["confusion"] == flipped["confusion"]


def test_what_people_read(mine):
    extra = ("--window", "40x32", "--confusion", "c.png", "--save-ids", "ids")
    done = run("evaluate", "my_net.yml", "--weights", "trained.pth", *EAGER, *extra, cwd=mine)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].startswith("weights     ")
    assert "converted" in lines[1]
    assert any("windows of 40x32, stride 0.667" in line for line in lines)
    assert any(line.split()[:1] == ["class"] and "Dice" in line for line in lines)
    assert lines[-1].startswith("6 images: mIoU 0.")
    assert (mine / "c.png").stat().st_size > 10_000
    assert len(list((mine / "ids").glob("*.png"))) == 6
    again = run("evaluate", "my_net.yml", "--weights", "trained.pth", *EAGER, *extra, cwd=mine)
    assert again.returncode == 2
    assert "--force" in again.stderr
    given = ("--framework", "torch", "--quiet", "--lang", "zh")
    done = run("evaluate", "my_net.yml", "--weights", "trained.pth", *given, cwd=mine)
    assert done.stdout.startswith("6 幅图像：mIoU 0.")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--weights", "trained.pth", "--at-least", "0.999"), 1, "< 0.999"),
        (("--weights", "trained.pth", "--at-least", "0.01"), 0, ">= 0.01"),
        (("--weights", "nowhere.pth"), 2, "nowhere.pth: no such file"),
        (("--weights", "my_net.yml"), 2, "my_net.yml"),
        (("--weights", "trained.pth", "model.num_classes=4"), 2, "class 3 occur in neither"),
        (("--weights", "other.pth"), 2, "other.pth"),
        (("--weights", "trained.pth", "--scale", "0.5", "evaluate.scales=[1,2]"), 0, "mIoU"),
        (("--weights", "trained.pth", "--engine", "paddle"), 2, "--engine goes with Paddle's"),
    ],
)
def test_exit_codes(mine, arguments, code, words):
    if not (mine / "other.pth").exists():
        import torch

        torch.save({"conv.weight": torch.zeros(3, 3)}, mine / "other.pth")
    given = ("--framework", "torch", "--quiet", *arguments)
    done = run("evaluate", "my_net.yml", *given, cwd=mine)
    assert done.returncode == code, done.stderr
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_tensors_that_no_file_fills_may_not_matter(mine):
    """An account says that a head was left: what the net predicts depends on it."""
    import paddle

    from commands.subjects.named.frameworks import parts_of
    from commands.subjects.named.weights import load_weights
    from common.errors import ConversionError
    from convert.formats.pdparams import write_pdparams

    settings = load_settings(CONFIGS / "unet_toy.yml", ["model.options.width=0.125"])
    parts = parts_of(settings, "paddle")
    net = parts.net()
    paddle.seed(1)
    state = {key: tensor.numpy() for key, tensor in parts.net().state_dict().items()}
    write_pdparams(state, mine / "whole.pdparams")
    assert load_weights(parts, net, mine / "whole.pdparams").left == ()
    assert all(np.array_equal(net.state_dict()[key].numpy(), state[key]) for key in state)
    left = [key for key in state if key.startswith("outc.")]
    assert left
    write_pdparams({k: v for k, v in state.items() if k not in left}, mine / "part.pdparams")
    rows = [{"key": key, "change": "left at initialisation"} for key in left]
    written = {"bytes": (mine / "part.pdparams").stat().st_size}
    account = {"output": written, "target_tensors": rows}
    (mine / "part.pdparams.account.json").write_text(json.dumps(account))
    with pytest.raises(ConversionError, match="depends on them"):
        load_weights(parts, net, mine / "part.pdparams")


def test_of_a_file_of_several_nets_the_key_of_the_config_says_which(mine):
    """By whatever reads the weights of a config: evaluate, predict and export."""
    torch = pytest.importorskip("torch")
    from commands.deploy.subject_paddle import subject_of
    from commands.subjects.named.frameworks import parts_of
    from commands.subjects.named.weights import load_weights

    path, narrow = mine / "both.pth", "model.options.width=0.125"
    given = [narrow, f"weights.path={path}", "weights.key=ema"]
    settings = load_settings(CONFIGS / "unet_toy.yml", given)
    theirs, ours = parts_of(settings, "torch"), parts_of(settings, "paddle")
    nets = {name: theirs.seeded_net(seed) for seed, name in enumerate(("model", "ema"))}
    torch.save({name: net.state_dict() for name, net in nets.items()}, path)
    expected = nets["ema"].state_dict()["inc.double_conv.0.weight"].numpy()
    for net, parts in ((theirs.net(), theirs), (ours.net(), ours)):
        load_weights(parts, net, path)
        assert np.array_equal(net.state_dict()["inc.double_conv.0.weight"].numpy(), expected)
    assert np.array_equal(subject_of(settings, path).arrays["inc.double_conv.0.weight"], expected)


def test_options_stand_for_keys_of_the_config():
    def settings(*arguments, config="stdc1_toy.yml"):
        command = argparse.ArgumentParser()
        add_protocol(command)
        return load_settings(CONFIGS / config, overrides(command.parse_args(arguments))).evaluate

    found = settings("--protocol", "stdc75")
    assert (found.scale, found.align_corners, found.absent) == (0.75, True, "nan")
    assert (found.window_hw, found.flip) == (None, False)
    found = settings("--protocol", "whole", config="pspnet50_toy.yml")
    assert (found.all_scales, found.window_hw, found.flip) == ((1.0,), None, False)
    found = settings("--window", "64x32", "--stride", "0.5", "--flip")
    assert (found.window_hw, found.stride, found.flip, found.scale) == ((32, 64), 0.5, True, 0.5)
    found = settings("--scales", "0.75,1.25")
    assert (found.scale, found.all_scales) == (1.0, (0.75, 1.25))
    assert settings("--no-flip", config="pspnet50_toy.yml").flip is False
