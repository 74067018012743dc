"""Optimizers of the user's, of any slots and groups, and the schedulers that they hold."""

import shutil

import numpy as np
import pytest

from tests.commands.own_recipe import climb, log_of, replace
from tests.nursery import run

pytest.importorskip("torch")
pytest.importorskip("paddle")

ADAM = {
    "torch": ("torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=1e-4)",
              "torch.optim.AdamW(parameters, lr=lr)"),
    "paddle": ("paddle.optimizer.Momentum(lr, 0.9, parameters, weight_decay=1e-4)",
               "paddle.optimizer.AdamW(lr, parameters=parameters)"),
}  # fmt: skip


@pytest.mark.parametrize("framework", ["torch", "paddle"])
def test_an_optimizer_of_any_slots_is_resumed_to_the_bit(mine, framework):
    replace(mine, f"net_{framework}.py", *ADAM[framework])
    tool, often = f"train_{framework}", ["train.checkpoint_interval=4", "train.keep=9"]
    assert run(tool, "my_net.yml", "output=whole", cwd=mine).returncode == 0
    assert run(tool, "my_net.yml", "output=part", *often, cwd=mine).returncode == 0
    shutil.rmtree(mine / "part" / "checkpoints" / "iteration_00000008")
    assert run(tool, "my_net.yml", "output=part", "--resume", "auto", cwd=mine).returncode == 0
    assert log_of(mine / "part") == log_of(mine / "whole")


GROUPS = """

def optimizer({asks}, lr=0.05):
    head = [p for name, p in {named} if name.startswith("head.")]
    rest = [p for name, p in {named} if not name.startswith("head.")]
    return """
IN_TORCH = """torch.optim.SGD(
        [{"params": rest}, {"params": head, "lr": 10 * lr}], lr=lr, momentum=0.9)
"""
IN_PADDLE = """paddle.optimizer.Momentum(
        lr, 0.9, [{"params": rest}, {"params": head, "learning_rate": 10.0}])
"""
ASKS = {
    "named_parameters": "named_parameters",
    "net": "net.named_parameters()",
    "parameters, net": "net.named_parameters()",
    "parameters, *, named_parameters": "named_parameters",
}


def with_groups(folder, asks):
    for framework, made in (("torch", IN_TORCH), ("paddle", IN_PADDLE)):
        file = folder / f"net_{framework}.py"
        head = GROUPS.format(asks=asks, named=ASKS[asks])
        file.write_text(file.read_text() + head + made)


@pytest.mark.parametrize("asks", ASKS)
def test_an_optimizer_of_groups_asks_for_names_or_the_net(mine, asks):
    with_groups(mine, asks)
    code, report = climb("training", mine)
    assert code == 0, report["divergences"]
    rates = report["settings"]["free_steps"][0]
    assert rates["reference_rates"] == pytest.approx([0.05, 0.5])
    replace(mine, "net_paddle.py", '"learning_rate": 10.0', '"learning_rate": 5.0')
    assert climb("training", mine)[0] == 1


def test_optimizers_of_the_command_line_ask_alike(mine):
    with_groups(mine, "parameters, net")
    image = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    np.savez(mine / "batch.npz", arr_0=image, arr_1=np.zeros((2, 16, 16), np.int64))
    named = [
        word
        for side in ("torch", "paddle")
        for word in (f"--{side}", f"net_{side}:build", f"--{side}-loss", f"net_{side}:loss",
                     f"--{side}-optimizer", f"net_{side}:optimizer")
    ]  # fmt: skip
    given = [*named, "--inputs", "batch.npz", "--steps", "1"]
    done = run("align_training", *given, cwd=mine)
    assert done.returncode == 0, done.stdout + done.stderr
    replace(mine, "net_paddle.py", '"learning_rate": 10.0', '"learning_rate": 5.0')
    assert run("align_training", *given, cwd=mine).returncode == 1


@pytest.mark.parametrize("framework", ["torch", "paddle"])
def test_training_gives_an_optimizer_the_net(mine, framework):
    with_groups(mine, "parameters, net")
    done = run(f"train_{framework}", "my_net.yml", cwd=mine)
    assert done.returncode == 0, done.stderr
    block = done.stderr.partition("iteration")[0]
    assert "evaluation" in done.stderr
    assert "()" not in block


def test_what_an_optimizer_is_called_with_is_said(mine):
    with_groups(mine, "named_parameters")
    file = mine / "net_paddle.py"
    file.write_text(file.read_text().replace("(named_parameters, lr", "(parameters, head_lr, lr"))
    done = run("align_training", "my_net.yml", cwd=mine)
    assert done.returncode == 2
    for said in (
        "optimizer.paddle net_paddle:optimizer",
        "is called with (parameters), and with net and named_parameters where it takes them",
        "missing a required argument: 'head_lr'",
    ):
        assert said in done.stderr


HELD = {
    "net_torch.py": """

def held(parameters):
    made = optimizer(parameters)
    made.scheduler = torch.optim.lr_scheduler.StepLR(made, 2, 0.5)
    return made
""",
    "net_paddle.py": """

def held(parameters, gamma=0.5):
    return optimizer(parameters, paddle.optimizer.lr.StepDecay(0.05, 2, gamma))
""",
}


@pytest.fixture
def holding(mine):
    """Return the example whose optimizers hold their schedulers."""
    for file, text in HELD.items():
        (mine / file).write_text((mine / file).read_text() + text)
    replace(mine, "my_net.yml", "net_torch:optimizer", "net_torch:held")
    replace(mine, "my_net.yml", "net_paddle:optimizer", "net_paddle:held")
    return mine


def test_schedulers_that_optimizers_hold_are_stepped(holding):
    own = ["schedule={name: in_optimizer}"]
    code, report = climb("training", holding, *own)
    assert code == 0, report["divergences"]
    rates = [0.05 * 0.5 ** (step // 2) for step in range(8)]
    assert [row["lr"] for row in report["settings"]["steps"]] == pytest.approx(rates[:3])
    for framework in ("torch", "paddle"):
        every = ["train.log_interval=1", f"output={framework}"]
        done = run(f"train_{framework}", "my_net.yml", *own, *every, cwd=holding)
        assert done.returncode == 0, done.stderr
        log = [row["lr"] for row in log_of(holding / framework) if "lr" in row]
        assert log == pytest.approx(rates)
    code, report = climb("training", holding, *own, "optimizer.paddle_args.gamma=0.1")
    assert code == 1
    assert report["divergences"][0]["where"] == "lr"
    bare = ["optimizer.torch=net_torch:optimizer"]
    done = run("train_torch", "my_net.yml", *own, *bare, "output=bare", cwd=holding)
    assert done.returncode == 2
    assert "net_torch:optimizer: schedule.name is in_optimizer, and its optimizer" in done.stderr


def test_what_an_optimizer_holds_and_nothing_steps_is_said(holding):
    code, report = climb("training", holding)
    assert code == 0, report["divergences"]
    assert any("StepDecay in the port, StepLR in the reference" in n for n in report["notes"])
