"""Users' mistakes on every rung: one message, of the right side and place; never a traceback."""

import numpy as np
import pytest

from tests.commands.mistakes import BAD, FILES
from tests.nursery import run
from tests.paths import ROOT

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("mistakes")
    for name, text in FILES.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(text)
    draw = np.random.default_rng(0)
    x, y = draw.standard_normal((5, 4)), draw.integers(0, 3, 5)
    np.savez(path / "batch.npz", x, y)
    np.savez(path / "input.npz", x)
    np.savez(path / "strange.npz", image=x, label=y)
    np.savez(path / "float_label.npz", x, y.astype("float32"))
    np.savez(path / "long_label.npz", x, y[:3])
    np.savez(path / "large_label.npz", x, y + 7)
    np.savez(path / "nan.npz", np.full((5, 4), np.nan), y)
    np.savez(path / "objects.npz", np.array([{}], dtype=object))
    (path / "text.npz").write_text("hello")
    (path / "unclosed.yml").write_text("a: [1,\n")
    (path / "odd.yml").write_text("nonsense: 3\n")
    torch.save(torch.nn.Linear(4, 3).state_dict(), path / "w.pth")
    return path


def pair(theirs="good:Theirs", ours="good:Ours"):
    return ["--torch", theirs, "--paddle", ours]


def forward(*nets):
    return ["align_forward", *pair(*nets), "--input-shape", 5, 4]


def port(name):
    return forward("good:Theirs", name)


def losses(theirs="good:theirs", ours="good:ours", file="batch.npz"):
    return ["--inputs", file, "--torch-loss", theirs, "--paddle-loss", ours]


def backward(*criteria, **named):
    return ["align_backward", *pair(), *losses(*criteria, **named)]


def of_loss(*criteria):
    return ["align_stage", "loss", *pair(), *losses(*criteria)]


def training(
    theirs="good:their_sgd",
    ours="good:our_sgd",
    nets=(),
    loss="good:theirs",
    our_loss="good:ours",
    file="batch.npz",
):
    optimizers = ["--torch-optimizer", theirs, "--paddle-optimizer", ours]
    return ["align_training", *pair(*nets), *losses(loss, our_loss, file), *optimizers]


def step(theirs, ours="good:our_sgd"):
    optimizers = ["--torch-optimizer", theirs, "--paddle-optimizer", ours]
    return ["align_stage", "step", *pair(), *losses(), *optimizers]


def convert(name):
    return ["convert_weights", "w.pth", "--model", name]


def line(start):
    """Return the place of the line of bad.py that begins so."""
    lines = BAD.splitlines()
    return f"bad.py:{next(n for n, text in enumerate(lines, 1) if text.startswith(start))}"


def body(name):
    """Return the place of the code of the class's method, behind its `def`."""
    lines = BAD.splitlines()
    head = next(n for n, text in enumerate(lines, 1) if text.startswith(f"class {name}("))
    found = next(n for n in range(head, len(lines)) if "raise" in lines[n] or "3, 5" in lines[n])
    return f"bad.py:{found + 1}"


MAIN = "would end the program; put what ends it"
RAISES = "ValueError: no such width"
# name: (command, exit code, what its last line of stderr says; of exit 1 what its report says)
NETS = {
    "the factory raises": (
        forward("bad:net_raises"),
        2,
        ["--torch bad:net_raises", RAISES, line("def net_raises")],
    ),
    "the port's factory raises": (port("bad:net_raises"), 2, ["--paddle bad:net_raises", RAISES]),
    "the factory exits": (forward("bad:net_exits"), 2, ["SystemExit(0)", MAIN]),
    "the factory is interrupted": (port("bad:net_interrupts"), 2, ["KeyboardInterrupt"]),
    "the factory recurses": (forward("bad:net_recurses"), 2, ["RecursionError"]),
    "the factory wants more": (
        port("bad:net_needs"),
        2,
        ["--paddle bad:net_needs", "needs width: give --paddle-args", line("def net_needs")],
    ),
    "an unknown argument": (
        [*forward(), "--torch-args", "widht=3"],
        2,
        ["--torch good:Theirs", "takes no widht: give --torch-args", "good.py:"],
    ),
    "a callable that returns a class": (
        forward("bad:a_class"),
        2,
        ["returned the class Theirs itself", "name it, good:Theirs"],
    ),
    "a class of the port": (port("bad:our_class"), 2, ["--paddle", "the class Ours itself"]),
    "a dict of weights": (forward("bad:a_state"), 2, ["returned collections.OrderedDict"]),
    "nothing": (
        port("bad:nothing"),
        2,
        ["--paddle bad:nothing", "returned None", "does it return the net?"],
    ),
    "no callable": (forward("bad:value"), 2, ["expected a callable"]),
    "no such name": (forward("bad:NoSuch"), 2, ["bad has no NoSuch; it has net_raises"]),
    "the sides exchanged": (
        forward("good:Ours", "good:Theirs"),
        2,
        ["--torch good:Ours", "a net of paddle; are the two sides exchanged?"],
    ),
    "no super().__init__()": (forward("bad:TheirsNoSuper"), 2, ["--torch bad:TheirsNoSuper"]),
    "no values": (forward("bad:TheirsMeta"), 2, ["fc.weight is on the device meta"]),
    "the init rung": (
        ["align_stage", "init", *pair("good:Theirs", "bad:net_raises")],
        2,
        ["--paddle bad:net_raises", RAISES],
    ),
    "the weights rung": (
        ["align_stage", "weights", *pair("bad:net_raises")],
        2,
        ["--torch bad:net_raises", RAISES],
    ),
    "momentum as torch counts it": (
        ["align_stage", "weights", *pair("good:Theirs", "bad:OursMomentum")],
        1,
        ["momentum=0.1 of Paddle keeps 10 % of the old statistics", "Paddle needs momentum=0.9"],
    ),
}
MODULES = {
    "syntax": (forward("syntax:build"), 2, ["--torch syntax:build", "SyntaxError", "syntax.py:1"]),
    "the port's syntax": (port("syntax:build"), 2, ["--paddle syntax:build", "syntax.py:1"]),
    "indentation": (forward("indented:build"), 2, ["TabError", "indented.py:3"]),
    "a missing package": (forward("missing:build"), 2, ["no_such_package", "missing.py:1"]),
    "a missing name": (forward("missing_name:build"), 2, ["NoSuchNet", "missing_name.py:1"]),
    "a circle": (forward("circle_a:build"), 2, ["circular import", "circle_b.py:2"]),
    "it exits": (forward("exits:build"), 2, ["SystemExit(0)", "exits.py:2", MAIN]),
    "it parses arguments": (port("parses:build"), 2, ["--paddle parses:build", "parses.py:2"]),
    "it raises": (forward("raises:build"), 2, ["KeyError", "raises.py:2"]),
    "a package": (forward("package:build"), 2, ["modules nets", "package.nets:build"]),
    "no module": (port("no_module:build"), 2, ["--paddle no_module:build: cannot import"]),
}
FORWARD = {
    "the reference raises": (
        forward("bad:TheirsRaises"),
        2,
        ["the reference cannot run", "ValueError: not today", body("TheirsRaises")],
    ),
    "wrong shapes": (forward("bad:TheirsWrongShape"), 2, ["layer norm", body("TheirsWrongShape")]),
    "the reference imports": (
        forward("bad:TheirsImports"),
        2,
        ["the reference cannot run: ", "no_such_package", "mend it there"],
    ),
    "the reference exits": (forward("bad:TheirsExits"), 2, ["reference (TheirsExits)", "bye"]),
    "the reference recurses": (forward("bad:TheirsRecurses"), 2, ["RecursionError", "mend it"]),
    "no forward": (forward("bad:TheirsNoForward"), 2, ["(TheirsNoForward)", "bad.py:"]),
    "another input": (forward("bad:TheirsTwo"), 2, ["'mask'", "--input-shape", "bad.py:"]),
    "out of memory": (forward("bad:TheirsMemory"), 2, ["(TheirsMemory)", "allocate", "bad.py:"]),
    "only after another pass": (forward("bad:TheirsWarm"), 2, ["'cache'", "bad.py:"]),
    "the port raises": (
        port("bad:OursRaises"),
        1,
        ["it raises ValueError: not today", body("OursRaises"), "not aligned: (root)"],
    ),
    "wrong shapes of the port": (
        port("bad:OursWrongShape"),
        1,
        ["shape [3, 5], the reference has [5, 3]", body("OursWrongShape")],
    ),
    "the port imports": (port("bad:OursImports"), 1, ["no_such_package", "bad.py:"]),
    "the port recurses": (port("bad:OursRecurses"), 1, ["RecursionError", "bad.py:"]),
    "the port is interrupted": (
        port("bad:OursInterrupts"),
        2,
        ["of the port (OursInterrupts) raises KeyboardInterrupt", body("OursInterrupts")],
    ),
    "no forward of the port": (port("bad:OursNoForward"), 1, ["NotImplementedError", "bad.py:"]),
    "another input of the port": (port("bad:OursTwo"), 1, ["'mask'", "bad.py:"]),
    "the port returns nothing": (port("bad:OursNothing"), 1, ["does its forward return?"]),
    "out of memory in the port": (port("bad:OursMemory"), 1, ["alloc", "bad.py:"]),
    "the reference is for inference": (
        ["align_backward", *pair("bad:TheirsEval"), "--input-shape", 5, 4],
        2,
        ["the reference cannot run", "made for inference only", "bad.py:"],
    ),
    "the port is for inference": (
        ["align_backward", *pair("good:Theirs", "bad:OursEval"), "--input-shape", 5, 4],
        1,
        ["it raises AssertionError: made for inference only", "bad.py:"],
    ),
    "steps of a port that raises": (
        training(nets=("good:Theirs", "bad:OursRaises")),
        1,
        ["it raises ValueError: not today", body("OursRaises")],
    ),
}
SCALAR = "the reference's loss (--torch-loss, torch_loss) returns"
LOSSES = {
    "it raises": (
        backward("bad:raises"),
        2,
        ["--torch-loss bad:raises raises ValueError: no such label", line("def raises")],
    ),
    "the port's raises": (
        backward("good:theirs", "bad:raises"),
        1,
        ["it raises ValueError: no such label", line("def raises"), "reference good.py:"],
    ),
    "both are one and raise": (backward("bad:raises", "bad:raises"), 2, ["--torch-loss bad:raise"]),
    "in training": (training(loss="bad:raises"), 2, ["--torch-loss bad"]),
    "it exits": (of_loss("good:theirs", "bad:exits"), 2, ["--paddle-loss bad:exits", "(0)"]),
    "nothing": (backward("bad:no_loss"), 2, [SCALAR, "NoneType", line("def no_loss")]),
    "a number": (of_loss("bad:a_float"), 2, [SCALAR, "float", line("def a_float")]),
    "nothing of the port": (
        backward("good:theirs", "bad:no_loss"),
        1,
        ["0 tensors, the reference has 1", line("def no_loss")],
    ),
    "a number of the port": (
        training(our_loss="bad:our_float"),
        1,
        ["0 tensors, the reference has 1", line("def our_float")],
    ),
    "a vector in training": (training(loss="bad:a_vector"), 2, [SCALAR, "[5]", "one scalar"]),
    "a vector of the port": (
        training(our_loss="bad:our_vector"),
        1,
        ["shape [5], the reference has []", "reduction=mean it is the reference's"],
    ),
    "a NaN of the port": (
        backward("good:theirs", "bad:our_nan"),
        1,
        ["1 values are NaN or infinite, in the reference 0", line("def our_nan")],
    ),
    "too many arguments": (
        backward("bad:three"),
        2,
        ["three(out, label, weight)", line("def three"), "called with (outputs, label)"],
    ),
    "too few, of the port": (
        of_loss("good:theirs", "bad:one"),
        2,
        ["the port's loss (--paddle-loss", "one(out)", line("def one")],
    ),
    "a class with arguments": (
        backward("bad:Criterion"),
        2,
        ["--torch-loss bad:Criterion", "'weight'", line("class Criterion")],
    ),
    "labels of another type": (
        backward(file="float_label.npz"),
        2,
        ["--torch-loss good:theirs", "Long", "good.py:"],
    ),
    "too few labels": (backward(file="long_label.npz"), 2, ["batch_size (3)", "good.py:"]),
    "labels out of range": (training(file="large_label.npz"), 2, ["out of bounds", "good.py:"]),
}
OPTIMIZERS = {
    "no argument": (
        training("bad:no_arguments"),
        2,
        ["--torch-optimizer bad:no_arguments", "(parameters)", line("def no_arguments")],
    ),
    "two arguments": (
        training("good:their_sgd", "bad:keyword"),
        2,
        ["--paddle-optimizer bad:keyword", "keyword(parameters, lr)"],
    ),
    "a wrong option": (step("bad:wrong_option"), 2, ["'learning_rate'", line("def wrong_option")]),
    "of the port": (
        training("good:their_sgd", "bad:our_wrong_option"),
        2,
        ["--paddle-optimizer bad:our_wrong_option", line("def our_wrong_option")],
    ),
    "none": (training("bad:no_optimizer"), 2, ["the reference's optimizer is of NoneType"]),
    "arguments exchanged": (
        step("good:their_sgd", "bad:our_order"),
        2,
        ["--paddle-optimizer bad:our_order", "not iterable", "bad.py:"],
    ),
    "its step raises": (training("bad:TheirSteps"), 2, ["reference (TheirSteps)", "no step"]),
    "the port's step raises": (step("good:their_sgd", "bad:OurSteps"), 2, ["bad:OurSteps raises"]),
    "the sides exchanged": (training("good:our_sgd", "good:their_sgd"), 2, ["torch.optim.Optimi"]),
    "a closure": (training("bad:their_lbfgs"), 2, ["LBFGS takes a step only with closure"]),
}
INPUTS = {
    "wrong keys": (backward(file="strange.npz"), 2, ["has image, but forward of the reference"]),
    "no label": (backward(file="input.npz"), 2, ["the last array, arr_0, is the label"]),
    "a label too many": (["align_forward", *pair(), "--inputs", "batch.npz"], 0, ["left out"]),
    "text": (training(file="text.npz"), 2, ["text.npz: is no .npz or .npy of plain arrays"]),
    "objects": (backward(file="objects.npz"), 2, ["objects.npz: is no .npz"]),
    "none": (backward(file="absent.npz"), 2, ["absent.npz: cannot be read"]),
    "NaN": (["align_forward", *pair(), "--inputs", "nan.npz"], 2, ["could not check", "NaN"]),
    "another width": (["align_forward", *pair(), "--input-shape", 5, 7], 2, ["layer fc", "(5x7"]),
    "half an argument": ([*forward(), "--torch-args", "width"], 2, ["expected key=value"]),
    "rules that are no YAML": ([*forward(), "--rules", "unclosed.yml"], 2, ["unclosed.yml: not"]),
    "rules of another kind": ([*forward(), "--rules", "odd.yml"], 2, ["odd.yml: nonsense"]),
    "no checkpoint": ([*forward(), "--weights", "no.pth"], 2, ["no.pth: no such file"]),
    "another net's checkpoint": ([*forward(), "--weights", "w.pth"], 2, ["w.pth does not fit"]),
    "no config": (["align_training", "no.yml"], 2, ["no.yml: no such config file"]),
    "a typo in a config": (
        ["align_training", ROOT / "configs" / "stdc1_toy.yml", "optimizer.nam=3"],
        2,
        ["unknown key optimizer.nam; did you mean optimizer.name?"],
    ),
}
CONVERSIONS = {
    "the net raises": (convert("bad:net_raises"), 2, ["--model bad:net_raises", RAISES]),
    "a net of torch": (convert("good:Theirs"), 2, ["--model good:Theirs", "exchanged?"]),
    "a class": (convert("bad:our_class"), 2, ["--model bad:our_class", "the class Ours itself"]),
    "syntax": (convert("syntax:build"), 2, ["--model syntax:build", "syntax.py:1"]),
    "recursion": (convert("bad:net_recurses"), 2, ["RecursionError", line("def net_recurses")]),
    "another net": (convert("good:Ours"), 1, ["in the file, but not in the net"]),
}
KINDS = {
    **{f"net: {name}": case for name, case in NETS.items()},
    **{f"module: {name}": case for name, case in MODULES.items()},
    **{f"forward: {name}": case for name, case in FORWARD.items()},
    **{f"loss: {name}": case for name, case in LOSSES.items()},
    **{f"optimizer: {name}": case for name, case in OPTIMIZERS.items()},
    **{f"inputs: {name}": case for name, case in INPUTS.items()},
    **{f"conversion: {name}": case for name, case in CONVERSIONS.items()},
}


@pytest.mark.parametrize("name", KINDS)
def test_a_mistake_is_one_message_with_its_side_and_place(folder, name):
    command, code, words = KINDS[name]
    done = run(*command, cwd=folder)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    said = done.stderr + done.stdout
    if code == 2 and "error: " in done.stderr:
        said = done.stderr[done.stderr.rindex("error: ") :]
    assert all(each in said for each in words), (words, said)
    code = [text.split()[-1] for text in said.splitlines() if text.startswith("  port ")]
    assert not any(place.startswith(("align/", "commands/", "paddle/")) for place in code), said
