"""A repair tries spellings of what a finding blames, one rung a trial, and for a limited time."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("paddle")

from align.report.report import Divergence, Layer, Report
from commands.port import repair
from commands.port.prove import NAMES, Climb
from commands.port.repair import is_better, repaired
from commands.port.trials import trials
from port.calls import SourceLine
from port.port import Port, WrittenFile
from port.write.gaps import Needs, SpellingChoice

TEXT = """import helpers


class Base:
    def far(self, x):
        return log_softmax(x)


class Blamed(Base):
    def __init__(self):
        self.rows = Embedding(4, 2, padding_idx=0)
        self.other = Other()

    def forward(self, x):
        return self.far(x) + normalize(helpers.scaled(x))


class Other:
    def forward(self, x):
        return log_softmax(x)
"""
HELPERS = """def scaled(x):
    return resized(interpolate(x))


def resized(x):
    return max_pool2d(x)


def unused(x):
    return log_softmax(x)
"""
F, WHERE = "torch.nn.functional.", Path("/users/nets.py")


def choice(line, api, inside, backward=(), count=1):
    return SpellingChoice(SourceLine(WHERE, line), 8, api, count, inside, frozenset(backward))


FAR = choice(6, F + "log_softmax", "Base")
ROW = choice(11, "torch.nn.Embedding", "Blamed")
NORM = choice(15, F + "normalize", "Blamed", [1])
OTHER = choice(20, F + "log_softmax", "Other")
SIZE = choice(32, F + "interpolate", "scaled")
POOL = choice(36, F + "max_pool2d", "resized")
UNUSED = choice(40, F + "log_softmax", "unused")


@pytest.fixture
def port():
    nets = WrittenFile("nets.py", TEXT, None, Needs(choices=[FAR, ROW, NORM, OTHER]))
    helpers = WrittenFile("helpers.py", HELPERS, None, Needs(choices=[SIZE, POOL, UNUSED]))
    return Port([nets, helpers], ("nets", "Blamed"))


def climb(name, *found, code=1, layers=None):
    return Climb(name, code, Report("forward", divergences=list(found), layers=layers or {}))


def finding(layer, where="output:0", source="/a/port/nets.py:14"):
    return Divergence(layer, where, 1e-3, 1e-12, paddle_source=source)


def of(found):
    return [one for trial in found for one in trial.choices]


def test_what_the_blamed_code_runs_through_is_tried_and_nothing_else(port):
    assert of(trials(port, climb("backward", finding("a")))) == [NORM, FAR, SIZE, POOL]


def test_a_spelling_with_another_gradient_alone_is_not_tried_forward(port):
    assert of(trials(port, climb("train", finding("a")))) == [FAR, SIZE, POOL]


def test_a_layer_of_the_framework_runs_no_code_of_the_port(port):
    """An embedding may be made otherwise; nothing that stands around a convolution changes it."""
    layers = {
        "a.rows": Layer("a.rows", "Embedding", paddle_source="/site/paddle/nn/common.py:9"),
        "a.conv": Layer("a.conv", "Conv2d", paddle_source="/site/paddle/nn/conv.py:9"),
    }
    assert of(trials(port, climb("eval", finding("a.rows"), layers=layers))) == [ROW]
    assert of(trials(port, climb("eval", finding("a.conv"), layers=layers))) == []


def test_what_no_spelling_can_change_is_not_tried(port):
    assert of(trials(port, climb("eval", finding("a", "attribute:stride")))) == []
    assert of(trials(port, climb("eval", finding("a", "calls")))) == []


def test_where_no_place_is_named_all_are_tried(port):
    every = [FAR, NORM, OTHER, SIZE, POOL, UNUSED]
    assert of(trials(port, climb("step", finding("", source=None)))) == every


class Prover:
    """Stands for a proof: one spelling mends the rungs; what was climbed and written is kept."""

    def __init__(self, port, mending, wrong=("eval", "train")):
        self.port, self.mending, self.wrong = port, mending, wrong
        self.now, self.written, self.climbed, self.told = {}, [], [], []

    def write(self, otherwise):
        self.now = otherwise
        self.written.append(otherwise)
        return self.port

    def climb(self, names):
        self.climbed.append(list(names))
        mended = self.mending in self.now
        return [
            climb(one, finding("a")) if one in self.wrong and not mended else climb(one, code=0)
            for one in names
        ]

    def repaired(self):
        first = self.climb(NAMES)
        self.climbed.clear()
        return repaired(self.port, first, self.write, self.climb, self.told.append)


def test_only_the_rung_that_failed_is_climbed_and_all_once_at_the_end(port):
    prover = Prover(port, FAR)
    _, outcomes, told = prover.repaired()
    assert [one.code for one in outcomes] == [0, 0, 0, 0]
    assert prover.climbed == [["eval"], ["train"], list(NAMES)]
    assert prover.written == [{FAR: 1}, {FAR: 1}]
    assert "1 of 3" in prover.told[0]
    assert (len(prover.told), told) == (1, "")


def test_what_was_in_vain_is_not_tried_again_and_the_first_port_is_left(port):
    prover = Prover(port, None)
    _, outcomes, _ = prover.repaired()
    assert [one.code for one in outcomes] == [1, 1, 0, 0]
    assert prover.climbed == [["eval"]] * 3
    assert prover.written[-1] == {}


def test_trials_end_with_the_time_and_say_so(port, monkeypatch):
    clock = iter(range(0, 10_000, 100))
    monkeypatch.setattr(repair.time, "monotonic", lambda: next(clock))
    prover = Prover(port, POOL)
    _, outcomes, told = prover.repaired()
    assert [one.code for one in outcomes] == [1, 1, 0, 0]
    assert len(prover.climbed) < 3
    assert "were not tried: 180 s were over" in told


def test_a_trial_that_cannot_be_climbed_is_no_better():
    """A port that stops has no finding; it is not taken for one that is right."""
    before = [climb("eval", finding("a"), finding("b"))]
    assert is_better([climb("eval", finding("a"))], before)
    assert is_better([climb("eval", code=0)], before)
    assert not is_better([Climb("eval", 2, None, "it stops")], before)
    assert not is_better([], before)
    both = [*before, climb("train", code=0)]
    assert not is_better([climb("eval", code=0), climb("train", finding("a"))], both)


def test_a_rung_with_too_little_left_to_compare_is_better_than_one_that_differs():
    """Gradients of zero elsewhere are no reason to keep a spelling that is wrong."""
    open_rung = Climb("backward", 2, climb("backward").report)
    wrong, right = climb("backward", finding("a")), climb("backward", code=0)
    assert is_better([open_rung], [wrong])
    assert not is_better([wrong], [open_rung])
    assert not is_better([open_rung], [right])
    assert not is_better([climb("eval", code=0), open_rung], [climb("eval", code=0), right])
