"""What is zero with one draw of weights is shown with another; what differs in one differs."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from align.judge.comparison import Comparison
from align.judge.words import Cause
from align.report.report import Report
from commands.port.draws import RAISED, advice, shown_together
from commands.port.nets_torch import moved
from commands.port.prove import Climb


def climb(cause="zero_on_both_sides", where="output:0", **verdicts):
    calls = [
        Comparison(
            layer, f"{layer}#0", where, "layer", verdict=verdict,
            cause=Cause(cause) if verdict == "unchecked" else None,
        )
        for layer, verdict in verdicts.items()
    ]  # fmt: skip
    report = Report("forward", calls=calls)
    return Climb("eval", report.exit_code, report)


def test_every_layer_is_to_be_shown_once():
    first = climb(a="unchecked", b="equal", c="unchecked")
    both = shown_together(first, climb(a="equal", b="unchecked", c="unchecked"))
    assert [call.layer for call in both.report.unchecked] == ["c"]
    assert (both.code, first.code) == (2, 2)
    assert "the first is c" in advice([both])[0]
    assert shown_together(both, climb(a="unchecked", b="equal", c="equal")).code == 0


def test_layers_without_an_influence_are_told_with_what_gives_them_one():
    first = climb(cause="zero_gradient_on_both_sides", where="grad:weight", a="unchecked")
    both = shown_together(first, first)
    assert both.code == 2
    assert "softmax over one class" in advice([both])[0]


def test_what_differs_with_one_draw_differs():
    both = shown_together(climb(a="unchecked", b="equal"), climb(a="equal", b="differs"))
    assert (both.code, both.report.calls[1].verdict) == (1, "differs")


def test_rounding_noise_and_other_open_questions_show_nothing():
    first = climb(a="unchecked", b="equal")
    assert shown_together(first, climb(a="noise", b="unchecked")).code == 2
    other = climb(cause="empty_on_both_sides", a="unchecked", b="equal")
    assert shown_together(other, climb(a="equal", b="unchecked")).code == 2
    assert advice([other]) == []
    assert shown_together(first, Climb("eval", 2, None, "it stops")) is first


def test_a_shut_relu_opens_in_another_draw():
    """Of two hidden channels behind a pool both are shut for all images with the first weights."""
    layers = torch.nn.Linear(4, 2), torch.nn.ReLU()
    net = torch.nn.Sequential(*layers)
    for one in net.parameters():
        torch.nn.init.constant_(one, -0.05)
    x = torch.rand(2, 4)
    moved(net, 0)
    assert not net(x).any()
    moved(net, 1, RAISED)
    assert net(x).any()
