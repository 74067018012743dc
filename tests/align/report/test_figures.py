"""Figures at the head of a page and names of rungs: what is judged as values, told apart."""

from align.report.html.page import render
from align.report.report import Report
from align.report.run import Run
from tests.align.report.reports import comparison, said, small


def init():
    report = Report("init")
    report.calls.append(comparison("stem", "weight:weight", error=0.15))
    return report


def page_of(*reports, names=()):
    run = Run("a run")
    for number, report in enumerate(reports):
        run.add(report, names[number] if names else report.stage)
    return said(render(run))


def figure(*reports):
    head = page_of(*reports).partition("largest error among the equal")[2]
    return head.partition("</dl>")[0]


def test_statistics_of_first_weights_are_no_error_of_the_net():
    assert "1e-16" in figure(init(), small())
    assert "0.15" not in figure(init(), small())
    assert "0.15" in figure(init())


def test_names_of_rungs_with_commas_are_told_apart():
    page = page_of(small("stem"), small("stem"), names=["forward, eval", "forward, train"])
    seen = page[page.index("seen in</span>") :].partition("</p>")[0]
    assert '; </span><span lang="zh">；</span><span lang="en">forward, eval<' in seen
    assert '; </span><span lang="zh">；</span><span lang="en">forward, train<' in seen
