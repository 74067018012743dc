"""Equal findings of one line of source are one entry on screens and pages; files keep each."""

import io

import pytest

from align.judge.comparison import DIFFERS, UNCHECKED
from align.judge.words import Cause
from align.report.groups import grouped
from align.report.html.page import render
from align.report.mends import mends, unchecked
from align.report.read import read_report
from align.report.report import Divergence, Layer, Report
from align.report.run import Run
from align.report.terminal import print_report
from common.terminal import Screen, screen
from tests.align.report.reports import comparison, said

COUNT = 10
WRONG = ("output:0", "grad:weight")


def cause(epsilon=1e-3):
    return Cause("attribute", name="epsilon", port=1e-5, reference=epsilon)


def blocks(verdict=DIFFERS, of=lambda number: cause()):
    """Return a report of ten equal blocks, the norm of each with two findings of cause `of(n)`."""
    report = Report("backward", settings={"model": "blocks"})
    report.layers[""] = Layer("", "Net", "Net", "net.py:40", "port.py:50")
    for number in range(COUNT):
        path = f"blocks.{number}"
        report.layers[path] = Layer(path, "Block", "Block", "net.py:9", "port.py:12")
        own = "/x/site-packages/{}/nn/norm.py:7"
        sources = own.format("torch"), own.format("paddle")
        report.layers[f"{path}.norm"] = Layer(f"{path}.norm", "Norm", "Norm", *sources)
        for where in WRONG:
            found = comparison(f"{path}.norm", where, verdict, 0.5, cause=of(number))
            report.calls.append(found)
            if verdict == DIFFERS:
                why = {"cause": found.cause, "call": found.call, "paddle_source": "port.py:12"}
                report.divergences.append(Divergence(f"{path}.norm", where, 0.5, 1e-14, **why))
    return report


def text(report, width=None):
    file = io.StringIO()
    plain = {"markup": False, "highlight": False, "color_system": None}
    given = {"file": file, "force_terminal": True, "width": width, **plain}
    print_report(report, Screen(**given) if width else screen(file=file))
    return file.getvalue()


def test_equal_findings_of_one_line_are_one_entry():
    (group,) = grouped(mends([blocks()], ["backward"]))
    assert (len(group.mends), group.count, group.source) == (COUNT, 20, "port.py:12")
    assert group.words == (
        "one line of source, one cause: 20 comparisons of 10 layers run port.py:12 "
        "(blocks.0.norm, blocks.1.norm, blocks.2.norm and 7 more)"
    )
    assert "10 个层的 20 项比较" in group.words.chinese


def test_a_fault_of_first_weights_hides_no_other_of_its_layer():
    layer, law = "blocks.0.norm", Cause("no_metric")
    first = Report("init", calls=[comparison(layer, "weight:weight", DIFFERS, 0.5, cause=law)])
    first.calls[0].kind = "init"
    run = Report("forward", calls=[comparison(layer, "output:0", DIFFERS, 0.5)])
    begin, wrong = mends([first, run], ["init", "forward"])
    assert (begin.cause, begin.stages) == (law, ["init"])
    assert (wrong.cause, wrong.stages) == (None, ["forward"])


def test_two_wrong_settings_of_a_layer_are_both_told():
    layer = "blocks.0.norm"
    values = {"epsilon": (1e-5, 1e-3), "momentum": (0.9, 0.1)}
    calls = [comparison(layer, f"attribute:{name}", DIFFERS, 0.5) for name in values]
    for call, (name, (port, reference)) in zip(calls, values.items(), strict=True):
        call.kind = "attribute"
        call.cause = Cause("attribute", name=name, port=port, reference=reference)
    again = comparison(layer, "output:0", DIFFERS, 0.5, cause=calls[0].cause)
    reports = [Report("weights", calls=calls), Report("forward", calls=[again])]
    (mend,) = mends(reports, ["weights", "forward"])
    assert mend.cause == calls[0].cause.also(calls[1].cause)


def test_another_cause_is_another_entry():
    report = blocks(of=lambda number: cause(1e-3 if number < 7 else 1e-2))
    assert [len(group.mends) for group in grouped(mends([report], ["backward"]))] == [7, 3]


def test_without_a_cause_only_the_layer_of_one_name_is_together():
    report = blocks(of=lambda number: None)
    report.layers["blocks.0.other"] = report.layers["blocks.0.norm"]
    report.calls.append(comparison("blocks.0.other", "output:0", DIFFERS, 0.5))
    sizes = [len(group.mends) for group in grouped(mends([report], ["backward"]))]
    assert sizes == [COUNT, 1]


def test_numbers_in_the_cause_of_a_users_own_line_do_not_part_it():
    report = blocks(of=lambda n: Cause("scaled", factor=Cause("times", factor=n + 2.0)))
    for path, layer in report.layers.items():
        if path.endswith("norm"):
            layer.paddle_source, layer.torch_source = "port.py:30", "net.py:30"
    assert len(grouped(mends([report], ["backward"]))) == 1
    page = said(render(Run.of(report)))
    assert all(f"it is {n + 2} times the reference" in page for n in range(COUNT))


def test_layers_whose_code_is_not_known_stay_apart():
    report = blocks()
    report.layers.clear()
    assert len(grouped(mends([report], ["backward"]))) == COUNT


@pytest.mark.parametrize("width", [None, 200])
@pytest.mark.parametrize("verdict", [DIFFERS, UNCHECKED])
def test_screens_show_a_group_once(verdict, width):
    lines = text(blocks(verdict), width).partition("worst calls")[0].splitlines()
    findings = "\n".join(lines[:-1] if width is None else lines)  # the last says the verdict
    assert findings.count("one line of source, one cause: 20 comparisons of 10 layers") == 1
    # A tree has every finding of the first layer, a file the first one alone.
    told = len(WRONG) if width else 1
    assert findings.count("epsilon is 1e-05, the reference has 0.001") == told
    assert "blocks.4" not in findings


def test_the_page_shows_a_group_once_and_every_layer_of_it():
    page = said(render(Run.of(blocks())))
    card = page[page.index('id="to_mend"') : page.index('id="ladder"')]
    assert card.count("epsilon is 1e-05, the reference has 0.001") == 1
    assert "and 9 more" in card
    assert "Places to mend: 1" in page
    assert ", in 10 layers" in page
    named, _, folded = card.partition("<details>")
    assert "blocks.3.norm" in named
    assert "blocks.4.norm" not in named
    assert all(f">blocks.{number}.norm<" in folded for number in range(4, COUNT))
    apart = said(render(Run.of(blocks(UNCHECKED))))
    assert "and 9 more" in apart


def test_divergences_counts_and_files_keep_each(tmp_path):
    report = blocks()
    print_report(report, screen(file=io.StringIO()))
    render(Run.of(report))
    report.to_json(tmp_path / "report.json")
    again = read_report(tmp_path / "report.json")
    for found in (report, again):
        assert len(found.divergences) == len(found.calls) == 2 * COUNT
        assert len({(d.layer, d.where) for d in found.divergences}) == 2 * COUNT
        assert len(mends([found], ["backward"])) == COUNT
    assert not unchecked([again], ["backward"])


MOMENTUM = Cause("optimizer_setting", name="momentum", port=0.8, reference=0.9)


def moved(layers=4):
    """Return a report of two steps: a wrong momentum moves every layer, its slot is another too."""
    report = Report("training", settings={"model": "blocks"})
    for step in (1, 2):
        for number in range(layers):
            path = f"blocks.{number}"
            report.layers[path] = Layer(path, "Norm", "Norm", "net.py:9", "port.py:12")
            for where in ("weight:weight", "slot:weight.momentum_buffer"):
                why = (
                    Cause("slot_of_port", slot="x").also(MOMENTUM) if "slot" in where else MOMENTUM
                )
                found = comparison(path, where, DIFFERS, 0.1 * step, cause=why, step=step)
                found.kind = "update"
                report.calls.append(found)
                if step == 1:
                    report.divergences.append(Divergence(path, where, 0.1, 0.0, step=1, cause=why))
    report.layers["(optimizer)"] = Layer("", "SGD", "Momentum", "recipe.py:3", "recipe_p.py:5")
    return report


@pytest.mark.parametrize("width", [None, 200])
def test_what_the_optimizer_does_otherwise_is_one_finding_of_the_recipe(width):
    report = moved()
    assert report.verdict == f"not aligned: (optimizer): {MOMENTUM}"
    assert str(report.divergences[0]).startswith("(optimizer) weight:weight of blocks.0 in step 1:")
    findings = text(report, width).partition("worst calls")[0]
    assert findings.count("momentum is 0.8") == 1 + (width is None)  # a file has the verdict, too
    assert (
        "16 weights, slots or rates of 4 layers show it (blocks.0, blocks.1, blocks.2" in findings
    )
    assert "recipe_p.py:5" in findings
    assert "port.py:12" not in findings
    (mend,) = mends([report], ["training"])
    assert (mend.cause, mend.torch_class, mend.paddle_source) == (MOMENTUM, "SGD", "recipe_p.py:5")


def test_the_page_has_one_card_of_the_optimizer_and_files_keep_each_place(tmp_path):
    report = moved()
    page = said(render(Run.of(report)))
    card = page[page.index('id="to_mend"') : page.index('id="ladder"')]
    assert "Places to mend: 1" in page
    assert card.count(MOMENTUM) == 1
    assert "recipe_p.py:5" in card
    assert "优化器的 momentum 为 0.8" in card
    report.to_json(tmp_path / "report.json")
    again = read_report(tmp_path / "report.json")
    assert len(again.divergences) == 8
    assert again.verdict == report.verdict
    assert [mend.cause for mend in mends([again], ["training"])] == [MOMENTUM]


def test_a_layers_own_fault_stands_beside_that_of_the_optimizer():
    report = moved()
    report.calls.append(comparison("blocks.1", "output:0", DIFFERS, 0.5, cause=cause(), step=1))
    found = mends([report], ["training"])
    assert [mend.layer for mend in found] == ["(optimizer)", "blocks.1"]
