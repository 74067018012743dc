"""Marks, counts, heads and words of one page say the same; a number stays on one line."""

import re

import pytest

from align.judge.comparison import DIFFERS, EQUAL, NOISE, UNCHECKED
from align.judge.words import Words, in_both
from align.report.html.data import page_data
from align.report.html.page import digits, headline, place, render, whole
from align.report.junit import junit
from align.report.report import Report
from align.report.run import Run, Rung
from tests.align.report.reports import comparison, ladder, said, small

KINDS = {"equal": EQUAL, "differs": DIFFERS, "noise": NOISE, "unchecked": UNCHECKED}


def noisy(count=44):
    report = small()
    report.calls += [comparison("body.conv", f"grad:b{n}", NOISE, step=n % 2) for n in range(count)]
    return report


def shown(run):
    """Return what a page shows without its script, which has every word of the table."""
    return said(render(run).partition("<script")[0])


def heads(page):
    """Return {name: number} of the counts at the head of a page."""
    counts = page[page.index('<dl class="counts">') : page.index("</dl>")]
    found = re.findall(r'<dt><span lang="en">(\w+)</span>.*?<dd>([\d,]+)</dd>', counts)
    return {name: int(number.replace(",", "")) for name, number in found}


@pytest.mark.parametrize("report", [small(), small("stem"), noisy()], ids=["good", "bad", "noisy"])
def test_the_same_count_stands_everywhere(report):
    counts = {name: sum(c.verdict == kind for c in report.calls) for name, kind in KINDS.items()}
    head = heads(shown(Run.of(report)))
    assert head.pop("compared") == len(report.calls)
    assert head == {name: n for name, n in counts.items() if n or name in ("equal", "differs")}
    chips = page_data(Run.of(report))["stages"][0]["counts"]
    assert chips == [counts[name] for name in ("equal", "noise", "unchecked", "differs")]
    if not report.exit_code:
        assert report.verdict.startswith(f"aligned: {counts['equal']} tensors")
        noise = re.search(r"; (\d+) more are rounding noise$", report.verdict)
        assert int(noise[1] if noise else 0) == counts["noise"]


def test_steps_of_a_training_are_counted_each():
    report = Report("training")
    report.calls = [comparison("body", step=step) for step in range(5)]
    (stage,) = page_data(Run.of(report))["stages"]
    assert stage["counts"] == [5, 0, 0, 0]
    assert len(stage["calls"]["layer"]) == 1  # of which the page draws one
    assert heads(shown(Run.of(report)))["equal"] == 5


def test_noise_is_not_said_to_lie_within_rounding():
    page = shown(Run.of(noisy()))
    assert "Every comparison lies within" not in page
    assert "of 44 rounding leaves nothing to compare" in page
    assert "Every comparison lies within" in shown(Run.of(small()))


def converted(verification):
    run = Run(Words("title_convert", name="a.pth"))
    moved = Words("copied", count=1)
    result = Words("converted_not_verified", moved=moved, why=Words.told("--no-verify"))
    run.rungs.append(Rung("convert", 0, result))
    row = {"key": "w", "shape": [1], "dtype": "float32", "became": "copied", "to": "w"}
    run.account = {"source_tensors": [row], "verification": verification}
    return run


def test_a_conversion_that_nobody_verified_is_not_simply_good():
    run = converted({})
    page = shown(run)
    assert (run.exit_code, headline(run).key) == (0, "converted_not_verified")
    assert '<h1><span lang="en">Converted, not verified</span>' in page
    assert "已转换，未验证" in page
    assert 'class="hero unproved"' in page
    assert 'class="exit-0"' not in page
    assert "Good" not in page
    proved = converted({"worst": 1e-9, "allowed": 1e-6})
    assert headline(proved).style == "exit-0"
    assert "Converted, verified" in shown(proved)


def test_a_head_says_which_rungs_are_open():
    run = ladder()
    run.rungs.append(Rung("data", 2, "a process that read images was ended"))
    page = shown(run)
    lead = page[page.index("Could not be checked or went wrong") : page.index("</section>")]
    assert in_both("data")[0] in lead
    assert in_both("data")[1] in lead
    assert "forward, eval" not in lead  # what it found stands below


def test_numbers_and_lines_of_source_are_not_broken():
    number = '<span class="n">{}</span>'
    assert whole("off 1.5e-07（允许 1.7e-06）") == (
        f"off {number.format('1.5e-07')}（允许 {number.format('1.7e-06')}）"
    )
    assert whole("<b> -3.25, conv2d") == f"&lt;b&gt; {number.format('-3.25')}, conv2d"
    assert place("a/b_c.py:23") == f"a<wbr>/b<wbr>_c<wbr>{number.format('.py:23')}"
    assert place("cp.0.<i>") == "cp<wbr>.0<wbr>.&lt;i&gt;"
    assert place(None) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (4e6, "4e6"), (1e13, "1e13"), (1.2e-7, "1.2e-07"), (0.0, "0"), (12.3, "12")],
)
def test_numbers_read_alike(value, text):
    assert digits(value) == text


def test_junit_counts_layers_by_the_same_verdicts():
    root = junit(Run.of(small("stem", "body")))
    assert root.get("failures") == "2"
