"""The commands on one's own nets: messages, exit codes, a child process that dies or hangs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.nursery import as_typed, run
from tests.paths import TOOLS

pytest.importorskip("torch")
pytest.importorskip("paddle")

from commands.subjects.callables import build, load_callable
from commands.subjects.inputs import read_inputs
from commands.subjects.own import build_pair, fill_reference, own_pair
from common.errors import UserError

# By the clock or by signals: not beside its like.
NETS = """
import numpy as np, paddle, torch

class Theirs(torch.nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.inner = torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.ReLU())
    def forward(self, x, gain):
        return self.inner(x) * gain

class Ours(paddle.nn.Layer):
    def __init__(self, width=4):
        super().__init__()
        self.inner = paddle.nn.Sequential(paddle.nn.Linear(4, width), paddle.nn.ReLU())
    def forward(self, x, gain):
        return self.inner(x) * gain

def not_a_net():
    return 3

def raises():
    raise ValueError("no such width")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "small_nets.py").write_text(NETS)
    (tmp_path / "broken_nets.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    for name in ("small_nets", "broken_nets", "narrow_nets", "inside", "blamed", "lazy"):
        sys.modules.pop(name, None)


def test_own_nets_from_the_command_line(folder):
    pair = ["--torch", "small_nets:Theirs", "--paddle", "small_nets:Ours"]
    shapes = ["--input-shape", 2, 4, "--input-shape", 1]
    widths = ["--torch-args", "width=6", "--paddle-args", "width=6"]
    done = run("align_forward", *pair, *widths, *shapes, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)[0]
    assert report["settings"]["inputs"] == {"0": [2, 4], "1": [1]}
    assert report["settings"]["model"] == "small_nets:Ours"


@pytest.mark.parametrize("tool", ["align_forward", "align_backward"])
def test_an_input_that_the_reference_does_not_take_is_no_fault_of_the_port(folder, tool):
    pair = ["--torch", "small_nets:Theirs", "--paddle", "small_nets:Ours"]
    done = run(tool, *pair, "--input-shape", 2, 5, "--input-shape", 1)
    assert done.returncode == 2
    error = done.stderr.splitlines()[-1]
    assert "the reference cannot run on this input: layer inner.0 (Linear) raises " in error
    assert "cannot be multiplied (2x5 and 4x4)" in error
    assert "small_nets.py:" in error
    assert "--input-shape" in error
    assert "small_nets:Ours" not in error


def test_weights_that_do_not_fit_exit_with_1(folder):
    pair = ["--torch", "small_nets:Theirs", "--paddle", "small_nets:Ours"]
    done = run("align_stage", "weights", *pair, "--torch-args", "width=6")
    assert done.returncode == 1
    assert "inner.0.weight: Paddle has (4, 4), file has (6, 4)" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_number_of_classes_is_advised_as_one_gives_it(folder):
    path = folder / "heads.py"
    path.write_text(
        "import torch, paddle\n"
        "def theirs(): return torch.nn.Sequential(torch.nn.Conv2d(3, 5, 1))\n"
        "def ours(classes=7): return paddle.nn.Sequential(paddle.nn.Conv2D(3, classes, 1))\n"
        "def seven(): return ours()\n"
    )
    pair = ["align_stage", "weights", "--torch", "heads:theirs", "--paddle"]
    done = run(*pair, "heads:ours")
    assert done.returncode == 1
    assert "--paddle-args classes=5 builds the port with it" in done.stderr
    assert run(*pair, "heads:ours", "--paddle-args", "classes=5").returncode == 0
    assert "let heads:seven build the net with 5" in run(*pair, "heads:seven").stderr


PATHS = ["small_nets.py", "./small_nets.py", "{folder}/small_nets.py", "in/a/ported.py"]
PATHS += ["../{folder.name}/small_nets", "in-side/mine.py"]


@pytest.mark.parametrize("path", PATHS)
def test_a_module_may_be_written_as_the_path_of_its_file(folder, path):
    for place in ("in/a/ported.py", "in-side/mine.py"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(NETS)
    found = load_callable(f"{path.format(folder=folder)}:Ours", "--paddle")
    assert found().forward is not None
    for name in ("in", "in.a", "in.a.ported", "mine"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("ports/port.py:build", "no such file; looked for {folder}/ports/port.py"),
        ("ports/port.py:build", "As a module: ports.port"),
        ("small_net:Ours", "looked in {folder}"),
        ("small_net:Ours", "did you mean small_nets?"),
        ("inside.smal:Ours", "looked in {folder}/inside; did you mean inside.small?"),
        ("small_nets:needs", "needs classes, width: give --paddle-args classes=VALUE width=VALUE"),
        ("small_nets:returns_nothing", "returned None, expected a paddle.nn.layer.layers.Layer"),
        ("small_nets:returns_nothing", "does it return the net?"),
    ],
)
def test_what_was_meant_is_said(folder, spec, words):
    from commands.subjects.callables_paddle import build_paddle

    (folder / "inside").mkdir()
    (folder / "inside" / "small.py").write_text("")
    more = "def needs(classes, width, depth=1): pass\ndef returns_nothing(): Ours()\n"
    (folder / "small_nets.py").write_text(NETS + more)
    with pytest.raises(UserError) as raised:
        build_paddle(spec)
    assert words.format(folder=folder) in str(raised.value)
    assert spec in str(raised.value)


def test_arguments_that_nothing_takes_are_said_with_what_is_taken(folder):
    from commands.subjects.callables_paddle import build_paddle

    with pytest.raises(UserError, match=r"Ours\(width=4\).* takes no widht: give --paddle-args"):
        build_paddle("small_nets:Ours", {"widht": 3})
    (folder / "narrow_nets.py").write_text("def of(classes): pass\n")
    with pytest.raises(UserError, match=r"needs classes: set model.torch_args: {classes: VALUE}"):
        build("narrow_nets:of", "model.torch", object)


LOSSES = """
import torch, paddle
def theirs(outputs, label): return torch.nn.functional.cross_entropy(outputs, label)
def ours(outputs, label): return paddle.nn.functional.cross_entropy(outputs, label, axis=1)
class Conv(torch.nn.Conv2d):
    def __init__(self): super().__init__(3, 4, 1)
class Conv2D(paddle.nn.Conv2D):
    def __init__(self): super().__init__(3, 4, 1)
"""
IMAGE = np.zeros((2, 3, 4, 4), "f4")
CLASSES = np.zeros((2, 4, 4), "i8")
NET = ["--torch", "losses:Conv", "--paddle", "losses:Conv2D"]
LOSS = ["--torch-loss", "losses:theirs", "--paddle-loss", "losses:ours"]


def fed(folder, command, options, *arrays, **named):
    (folder / "losses.py").write_text(LOSSES)
    np.savez(folder / "b.npz", *arrays, **named)
    return run(*command.split(), *options, "--inputs", "b.npz", "--quiet", cwd=folder)


@pytest.mark.parametrize(
    ("command", "options", "arrays", "words"),
    [
        ("align_backward", NET + LOSS, (IMAGE, CLASSES.astype("f4")), "write label.astype(np.in"),
        ("align_backward", NET + LOSS, (IMAGE, CLASSES + 7), "int64 [2, 4, 4], values 7 to 7"),
        ("align_stage loss", LOSS, (IMAGE[:, :, :3], CLASSES), "was taken as outputs"),
        ("align_forward", NET, (IMAGE.astype("u1"),), "arr_0 is uint8 [2, 3, 4, 4]; of an image"),
    ],
    ids=["a label of floats", "classes beyond", "an image as outputs", "an image of bytes"],
)
def test_what_is_the_files_fault_names_the_file(folder, command, options, arrays, words):
    done = fed(folder, command, options, *arrays)
    assert done.returncode == 2
    assert words in done.stderr, done.stderr
    assert "b.npz" in done.stderr


@pytest.mark.parametrize("command", ["align_stage loss", "align_backward"])
def test_a_label_by_name_stands_beside_arrays_by_position(folder, command):
    done = fed(folder, command, NET + LOSS, IMAGE, label=CLASSES)
    assert done.returncode == 0, done.stderr
    assert fed(folder, "align_forward", NET, IMAGE, label=CLASSES).returncode == 0
    whole = np.zeros((2, 4, 4, 4), "f4")
    assert fed(folder, "align_stage loss", LOSS, whole, label=CLASSES).returncode == 0


SPECS = {
    "no colon": ("small_nets", "expected MODULE:CALLABLE"),
    "no module": ("absent_nets:build", "cannot import absent_nets"),
    "import fails": ("broken_nets:build", "no_such_package"),
    "no such name": ("small_nets:Their", "it has Theirs, Ours, not_a_net, raises"),
    "no callable": ("small_nets:__name__", "is a str, expected a callable"),
    "raises": ("small_nets:raises", "ValueError: no such width"),
    "no net": ("small_nets:not_a_net", "returned builtins.int, expected a torch.nn"),
    "the other side's": ("small_nets:Ours", "expected a torch.nn"),
}


@pytest.mark.parametrize("case", SPECS)
def test_what_is_no_net_is_one_message(folder, case):
    import torch

    spec, words = SPECS[case]
    with pytest.raises(UserError) as raised:
        build(spec, "--torch", torch.nn.Module)
    assert words in str(raised.value)
    assert raised.value.exit_code == 2
    assert f"--torch {spec}" in str(raised.value)


def test_an_error_of_the_users_code_says_where(folder):
    import torch

    with pytest.raises(UserError, match=r"small_nets\.py:\d+, in raises"):
        build("small_nets:raises", "--torch", torch.nn.Module)


def test_checkpoint_is_loaded_strictly(folder):
    import torch

    build = load_callable("small_nets:Theirs", "--torch")
    torch.save({"inner.0.weight": torch.ones(4, 4)}, "half.pth")
    with pytest.raises(UserError, match=r"the file lacks 1: inner\.0\.bias") as caught:
        fill_reference(build(), "half.pth", "small_nets:Theirs")
    assert caught.value.exit_code == 2
    theirs, ours = own_pair("small_nets:Theirs", "small_nets:Ours", seed=3)
    assert np.array_equal(theirs.inner[0].weight.detach().numpy().T, ours.inner[0].weight.numpy())


def test_inputs_go_by_position_or_by_name(folder):
    theirs, ours = build_pair("small_nets:Theirs", "small_nets:Ours")
    x, gain, label = np.ones((2, 4)), np.ones(1), np.zeros(2, np.int64)
    np.savez("position.npz", x, gain)
    np.savez("name.npz", gain=gain, x=x)
    np.savez("label.npz", gain=gain, x=x, target=label)
    np.savez("strange.npz", image=x, gain=gain)
    assert [a.shape for a in read_inputs("position.npz", theirs, ours)] == [(2, 4), (1,)]
    assert set(read_inputs("name.npz", theirs, ours)) == {"x", "gain"}
    assert list(read_inputs("label.npz", theirs, ours, labelled=True))[-1] == "target"
    with pytest.raises(UserError, match="has image, gain, but forward of the reference takes x"):
        read_inputs("strange.npz", theirs, ours)
    with pytest.raises(UserError, match="target"):
        read_inputs("label.npz", theirs, ours)
    np.save("code.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="plain arrays; write it with"):
        read_inputs("code.npy")


class _Net:
    """What `read_inputs` asks of a net."""

    def __init__(self, forward):
        self.forward = forward


IMAGE_NETS = {
    "one input": lambda image: image,
    "a setting beside it": lambda image, features=False, *, scale=1.0: image,
    "any more by name": lambda image, **more: image,
}


@pytest.mark.parametrize("names", [("arr_0", "arr_1"), ("image", "label")])
@pytest.mark.parametrize("kind", IMAGE_NETS)
def test_a_label_that_nobody_asked_for_is_left_out_and_said(folder, kind, names):
    if kind == "any more by name" and names[1] == "label":
        pytest.skip("forward takes the label")
    np.savez("batch.npz", **dict(zip(names, (np.ones((2, 3)), np.zeros(2)), strict=True)))
    net, said = _Net(IMAGE_NETS[kind]), []
    found = read_inputs("batch.npz", net, net, say=said.append)
    arrays = list(found.values()) if isinstance(found, dict) else found
    assert [array.shape for array in arrays] == [(2, 3)]
    assert said == [
        f"--inputs batch.npz: {names[1]}, the last array, is no argument of forward: it was taken "
        "for the label and left out"
    ]


MISFITS = {
    "two too many": (lambda x: x, ("arr_0", "arr_1", "arr_2"), "has 3 arrays for the nets"),
    "one is missing": (lambda x, gain: x, ("arr_0",), "takes x, gain; gain is missing"),
    "one is misspelt": (lambda x, mask=None: x, ("x", "maks"), "forward of the reference takes x"),
    "none is known": (lambda x: x, ("a", "b"), "has a, b, but forward of the reference takes x"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_arrays_that_forward_does_not_take_are_one_message(folder, case):
    forward, names, words = MISFITS[case]
    np.savez("batch.npz", **{name: np.ones(2) for name in names})
    with pytest.raises(UserError, match=r"--torch-loss|missing") as raised:
        read_inputs("batch.npz", _Net(forward), _Net(forward), say=pytest.fail)
    assert words in str(raised.value)


def test_optional_inputs_are_taken_and_scripts_are_not_asked(folder):
    np.savez("two.npz", np.ones(2), np.ones(3))
    net = _Net(lambda x, mask=None: x)
    assert len(read_inputs("two.npz", net, net, say=pytest.fail)) == 2
    assert len(read_inputs("two.npz", _Net(dict), None, say=pytest.fail)) == 2
    np.savez("one.npz", np.ones(2))
    with pytest.raises(UserError, match="has 0 arrays"):
        read_inputs("one.npz", net, net, labelled=True)


BLAMED = """
import paddle, torch
def fails(*given):
    raise ValueError("no such width")
class Loss:
    def __call__(self, outputs, label):
        return fails(outputs)
class Steps(paddle.optimizer.SGD):
    def step(self):
        fails()
"""


def test_an_error_names_the_loss_or_optimizer_it_came_from(folder):
    import paddle

    from commands.align.errors import errors_of_nets

    (folder / "blamed.py").write_text(BLAMED)
    loss = load_callable("blamed:Loss", "--paddle-loss")()
    steps = load_callable("blamed:Steps", "--paddle-optimizer")
    steps.__module__ = "blamed"
    optimizer = steps(0.1, parameters=paddle.nn.Linear(2, 2).parameters())
    said = {}
    for name, call in {"loss": lambda: loss(1, 2), "optimizer": optimizer.step}.items():
        with pytest.raises(UserError) as raised, errors_of_nets("port"):
            call()
        said[name] = str(raised.value)
    assert "--paddle-loss blamed:Loss raises ValueError: no such width" in said["loss"]
    assert "--paddle-optimizer blamed:Steps raises ValueError" in said["optimizer"]
    assert all("blamed.py:4, in fails" in text for text in said.values())


def test_a_missing_module_of_a_net_is_the_nets(folder):
    from commands.align.errors import errors_of_nets

    (folder / "lazy.py").write_text("def forward():\n    import no_such_package\n")
    forward = load_callable("lazy:forward", "--torch")
    words = r"no_such_package.*lazy\.py:2, in forward"
    with pytest.raises(UserError, match=words), errors_of_nets("port"):
        forward()


def test_a_label_may_be_several_arrays_of_a_file(folder):
    x, mask = np.ones((2, 4)), np.zeros(2)
    parts = {"label.masks.0": mask, "label.masks.1": mask + 1, "label.depth": mask + 2}
    np.savez("named.npz", **parts, x=x)
    np.savez("position.npz", x, **{"label.1": mask + 1, "label.0": mask})
    named = read_inputs("named.npz", labelled=True)
    assert list(named) == ["x", "label"]
    assert list(named["label"]) == ["masks", "depth"]
    assert [part[0] for part in named["label"]["masks"]] == [0, 1]
    image, label = read_inputs("position.npz", labelled=True)
    assert image.shape == (2, 4)
    assert isinstance(label, tuple)
    assert [part[0] for part in label] == [0, 1]
    for name, broken in {"gap": ["label.0", "label.2"], "both": ["label.a", "label.a.b"]}.items():
        np.savez(f"{name}.npz", x, **dict.fromkeys(broken, mask))
        with pytest.raises(UserError, match=r"label\."):
            read_inputs(f"{name}.npz", labelled=True)


CONTRADICTIONS = {
    "one side": (["--torch", "a:b"], "go together"),
    "a row too": (["--torch", "a:b", "--paddle", "c:d", "--model", "unet"], "instead of a row"),
    "rules alone": (["--rules", "r.yml"], "--rules goes with"),
    "no inputs": (["--torch", "small_nets:Theirs", "--paddle", "small_nets:Ours"], "give --inputs"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions_exit_with_2(folder, case):
    arguments, words = CONTRADICTIONS[case]
    done = run("align_forward", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


# A command without frameworks: what `run_guarded` does with a process that ends otherwise.
SCRIPT = """
import os, sys, time
sys.path.insert(0, {root!r})
from commands import guard
def main():
    from align.nets import progress
    class Layer: pass
    def forward(how):
        print("running", flush=True)
        if how == "abort": os.abort()
        if how == "raise": raise KeyError("a bug")
        if how == "sleep": time.sleep(100)
        return 1
    return progress.noted("body.pool", Layer(), forward)(sys.argv[1])
guard.run_guarded(main)
"""


def start(folder, *arguments):
    script = folder / "command.py"
    script.write_text(SCRIPT.format(root=str(TOOLS.parent)))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's jobs ignore it
    try:
        return subprocess.Popen([sys.executable, str(script), *arguments], **pipes)
    finally:
        signal.signal(signal.SIGINT, before)


def test_code_of_the_child_is_the_commands(tmp_path):
    child = start(tmp_path, "return")
    assert child.wait(60) == 1


def test_crash_is_reported_with_its_layer(tmp_path):
    child = start(tmp_path, "abort")
    _, error = child.communicate(timeout=60)
    assert child.returncode == 2
    assert "ended by SIGABRT while layer body.pool of the port (Layer) was running" in error


def test_hang_is_reported_with_its_layer(tmp_path):
    child = start(tmp_path, "sleep", "--timeout", "8")
    _, error = child.communicate(timeout=60)
    assert child.returncode == 2
    assert "nothing moved for 8 s while layer body.pool" in error


def test_own_bug_is_never_exit_1(tmp_path):
    child = start(tmp_path, "raise")
    _, error = child.communicate(timeout=60)
    assert child.returncode == 2
    assert "KeyError: 'a bug'" in error


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_child_ends_with_its_parent(tmp_path, how):
    parent = start(tmp_path, "sleep")
    assert parent.stderr.readline() == "running\n"  # what a net prints is no result
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert len(children) == 1
    parent.send_signal(how)
    code = parent.wait(60)
    assert code == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[how]
    for _ in range(100):
        if not is_running(int(children[0])):
            return
        time.sleep(0.1)
    os.kill(int(children[0]), signal.SIGKILL)
    pytest.fail("the child outlives its parent")


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.prove
def test_paddles_nll_loss_with_ignored_labels_is_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    label = np.random.default_rng(0).integers(0, 4, (2, 8, 8))
    label[0, :4] = 255
    np.savez("batch.npz", np.random.default_rng(0).standard_normal((2, 4, 8, 8)), label)
    (tmp_path / "nll.py").write_text(
        "import paddle.nn.functional as P, torch.nn.functional as T\n"
        "def theirs(x, y): return T.nll_loss(T.log_softmax(x, 1), y, ignore_index=255)\n"
        "def ours(x, y): return P.nll_loss(P.log_softmax(x, 1), y, ignore_index=255)\n"
    )
    losses = ["--torch-loss", "nll:theirs", "--paddle-loss", "nll:ours", "--inputs", "batch.npz"]
    done = as_typed("align_stage", "loss", *losses, "--timeout", 40)
    assert done.returncode == 2
    assert "F.cross_entropy does not" in done.stderr
    assert "the loss" in done.stderr
