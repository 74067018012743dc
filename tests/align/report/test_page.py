"""The page in a browser: no error, no request, and everything that can be clicked."""

import time

import pytest

from align.judge.words import in_both
from align.report.html.page import render, render_comparison
from align.report.report import Report
from align.report.run import Run
from align.report.write import write_page
from common.documents import write_text
from common.words import language
from tests.align.report.browser import PHONE, WIDE, chromium
from tests.align.report.reports import HOSTILE, RUNS, hostile, ladder, large, small
from tests.align.report.test_agreement import converted

# By the clock or by signals: not beside its like.
SIZES = pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def page(tmp_path):
    def write(run):
        path = tmp_path / "page.html"
        write_text(path, render(run))
        return path

    return write


@SIZES
@pytest.mark.parametrize("name", RUNS)
def test_page_loads_in_silence_and_fits(browser, page, name, size):
    browser.open(page(RUNS[name]()), size)
    assert browser.logs() == ([], [])
    assert not browser.overflows


def test_names_are_text(browser, page):
    browser.open(page(hostile()))
    assert browser.driver.title.startswith("Not aligned: </script>")
    assert not browser.find("img")
    browser.click(".mends.to_mend li:first-child .go")
    assert HOSTILE.replace("\x00", "") in browser.one("#detail h3").text.replace("\ufffd", "")
    assert browser.js("return document.title") != "owned"
    assert not browser.find("img")
    assert browser.logs() == ([], [])


@SIZES
def test_choosing_a_layer_shows_its_numbers(browser, page, size):
    browser.open(page(Run.of(small("body.conv"))), size)
    browser.click(".mends .go")
    detail = browser.one("#detail").text
    factor = "5e13 × what rounding explains"
    for words in ("body.conv", "stride", "port.py:2", "[1, 2]", "0.5", factor):
        assert words in detail, words
    assert "0.5 of the largest value, 1 absolute" in detail
    assert browser.find("#detail svg rect")
    selected = browser.one("#tree [aria-selected=true] > .row")
    assert "conv" in selected.text
    if size == PHONE:
        browser.one("#detail .close").click()
        assert not browser.one("#detail").is_displayed()


def test_tree_is_open_as_deep_as_the_trouble(browser, page):
    browser.open(page(Run.of(small("body.conv"))))
    labels = [label.text.split()[0] for label in browser.find("#tree .label")]
    assert labels == ["(root)", "stem", "body", "conv", "norm"]
    browser.open(page(Run.of(small("stem"))))
    assert not browser.find("#tree ul ul")  # body is closed: all is well below it


def test_the_mark_of_a_row_stands_beside_the_error_that_it_marks(browser, page):
    browser.open(page(Run.of(small("body.conv"))))
    rows = {row.text.split()[0]: row for row in browser.find("#tree .row")}
    for name in ("(root)", "body", "conv"):
        assert rows[name].find_elements("css selector", ".dot.d3")
        assert rows[name].find_element("css selector", ".value").text == "0.5"
    assert rows["norm"].find_element("css selector", ".value").text == "1e-16"


@SIZES
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", ["broken", "ladder"])
def test_no_number_is_broken_across_lines(browser, page, name, language, size):
    browser.open(page(RUNS[name]()), size)
    if language == "zh":
        browser.click("#language")
    browser.js("document.querySelector('.mends .go').click()")
    broken = browser.js(
        "return [...document.querySelectorAll('.n, td.number, .row .value')]"
        ".filter((one) => one.getClientRects().length > 1).map((one) => one.textContent)"
    )
    assert broken == []
    outside = browser.js(BROKEN_NUMBERS)
    assert outside == []


# Every text node: a number in it whose first and last sign stand on two lines.
BROKEN_NUMBERS = """
const found = [], walk = document.createTreeWalker(document.querySelector("main"), 4);
for (let node; node = walk.nextNode();) {
  for (const match of node.data.matchAll(/\\d[\\d.,]*(?:e-?\\d+)?/g)) {
    const range = document.createRange();
    range.setStart(node, match.index);
    range.setEnd(node, match.index + match[0].length);
    const tops = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
    if (tops.size > 1) found.push(match[0]);
  }
}
return found;
"""


def test_filters_and_search(browser, page):
    browser.open(page(Run.of(small("body.conv"))))
    browser.click("#verdicts [data-key=differs]")
    shown = [row.text for row in browser.find("#tree .row")]
    assert len(shown) == 3  # (root), body, conv
    browser.click("#verdicts [data-key=all]")
    browser.one("#search").send_keys("stem")
    time.sleep(0.3)
    assert len(browser.find("#tree .row")) == 2
    browser.one("#search").send_keys("nowhere")
    time.sleep(0.3)
    assert "Nothing matches" in browser.one("#tree").text


def test_tree_and_chart_obey_the_keyboard(browser, page):
    from selenium.webdriver.common.keys import Keys

    browser.open(page(Run.of(small("body.conv"))))
    browser.js("document.querySelector('#tree [tabindex=\"0\"]').focus()")
    active = browser.driver.switch_to.active_element
    active.send_keys(Keys.ARROW_DOWN)
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.one("#detail h3").text == "stem"
    browser.driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    browser.driver.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert len(browser.find("#tree .row")) == 3  # body is closed
    browser.js("document.querySelector('#chart').focus()")
    chart = browser.one("#chart")
    chart.send_keys(Keys.HOME)
    chart.send_keys(Keys.ARROW_RIGHT)
    assert "(root) output:0" in browser.one("#readout").text
    browser.click("#next")
    assert browser.one("#detail h3").text == "body.conv"


@SIZES
def test_language_and_theme_switch(browser, page, size):
    path = page(Run.of(small("body.conv")))
    browser.open(path, size)
    body = "return getComputedStyle(document.body).backgroundColor"
    light = browser.js(body)
    assert browser.one("h1").text == "Not aligned"
    browser.click(".mends .go")
    browser.js("document.querySelector('#detail .close').click()")
    browser.click("#language")
    assert browser.one("h1").text == "未对齐"
    assert browser.driver.title.startswith("未对齐：")
    assert "stride 为 (2, 2)，参考为 (1, 1)" in browser.one(".cause").text
    assert "属性" in browser.js("return document.querySelector('#detail').textContent")
    browser.click("#theme")
    dark = browser.js(body)
    assert dark != light
    browser.driver.refresh()
    assert browser.one("h1").text == "未对齐"  # both are remembered
    assert browser.js(body) == dark
    browser.open(path, size, dark=True)
    assert browser.js(body) == dark  # what the system prefers
    assert browser.logs() == ([], [])


def test_page_opens_in_the_language_that_was_asked_for(browser, page, monkeypatch):
    run = Run.of(small("body.conv"))
    monkeypatch.setattr(language, "_chosen", [language.CHINESE])
    text = render(run)
    assert '<html lang="zh-CN" data-lang="zh"' in text
    assert "<title>未对齐：" in text
    browser.open(page(run))  # a browser of English
    assert browser.one("h1").text == "未对齐"
    assert browser.js("return document.documentElement.lang") == "zh-CN"
    browser.click("#language")
    assert browser.driver.title.startswith("Not aligned: ")
    browser.driver.refresh()
    assert browser.one("h1").text == "Not aligned"  # what its reader chose


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("stage", ["forward", "backward"])
def test_the_title_says_the_mode(stage, train):
    report = small("body.conv")
    report.stage, report.settings["train"] = stage, train
    english, chinese = in_both(Run.of(report).title)
    mode = "train" if train else "eval"
    assert english.endswith(f"{stage}, {mode} mode")
    assert chinese.endswith(f"，{mode} 模式")


def test_ladder_leads_to_its_stages(browser, page):
    browser.open(page(ladder()))
    assert [row.text for row in browser.find("#ladder .name")] == [
        "forward, eval",
        "backward",
        "training",
    ]
    assert browser.one("#stages [aria-pressed=true]").text.startswith("forward, eval")
    browser.click("#ladder .rung[data-stage=backward]")
    assert browser.one("#stages [aria-pressed=true]").text == "backward"
    assert len(browser.find("#curves .curve canvas")) == 8
    assert browser.logs() == ([], [])


def test_account_has_search_and_filters(browser, page):
    browser.open(page(ladder()))
    assert browser.one("#account-count").text == "25 of 150"
    browser.click("#account-more")
    assert browser.one("#account-count").text == "150 of 150"
    browser.click("#account-chips [data-key=transposed]")
    assert browser.one("#account-count").text == "25 of 75"
    browser.one("#account-search").send_keys("w149")
    assert browser.one("#account-table tbody").text.split()[:2] == ["w149", "149×2"]


def test_nothing_compared_is_said_aloud(browser, page):
    browser.open(page(Run.of(Report("forward"))))
    assert browser.one("h1").text == "Could not check"
    assert "proves nothing" in browser.one("#summary").text
    assert not browser.find("#chart")


def test_two_runs_side_by_side(browser, tmp_path):
    path = tmp_path / "two.html"
    before, after = Run.of(small("stem", "body")), Run.of(small("body"))
    write_text(path, render_comparison(before, after))
    browser.open(path, PHONE)
    assert "stem" in browser.one("#mended").text
    assert "body" in browser.one("#still").text
    browser.click("#layers-chips [data-key=mended]")
    assert browser.one("#layers-count").text == "1 of 1"
    assert browser.logs() == ([], [])
    assert not browser.overflows


@pytest.mark.prove
def test_page_of_2000_calls_opens_within_3_seconds(browser, page):
    path = page(Run.of(large()))
    assert path.stat().st_size < 2_000_000
    begin = time.monotonic()
    browser.driver.get(path.as_uri())
    assert browser.js("return document.documentElement.dataset.ready") == "true"
    browser.js(
        "return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    assert time.monotonic() - begin < 3.0
    browser.click(".mends li:last-child .go")
    assert "stage3.block4.conv9" in browser.one("#detail h3").text


@pytest.mark.prove
@SIZES
@pytest.mark.parametrize("broken", [False, True], ids=["healthy", "broken"])
def test_page_of_stdc2(browser, tmp_path, size, broken):
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    from contextlib import ExitStack

    from align import align_backward
    from commands.subjects.inputs import seeded_input
    from commands.subjects.rows import seeded_pair
    from tests.faults.first import STDC_FAULTS, attribute

    torch_net, paddle_net = seeded_pair("stdc2_seg", 0)
    pool = attribute("cp.backbone.features.6.skip", "exclusive", True)
    faults = [pool, STDC_FAULTS["epsilon of a head"], STDC_FAULTS["concat order"]]
    with ExitStack() as stack:
        blamed = [stack.enter_context(fault(paddle_net)) for fault in faults * broken]
        report = align_backward(torch_net, paddle_net, [seeded_input((2, 3, 64, 96), 0)])
    write_page(report, tmp_path / "stdc2.html")
    assert (tmp_path / "stdc2.html").stat().st_size < 2_000_000
    browser.open(tmp_path / "stdc2.html", size)
    assert [title.text for title in browser.find(".mends.to_mend h3")] == blamed
    assert browser.logs() == ([], [])
    assert not browser.overflows


@SIZES
def test_every_column_of_the_account_is_in_sight(browser, page, size):
    run, name = converted({}), "learning_to_downsample.dsconv1.conv.0.num_batches"
    run.account["source_tensors"][0] |= {
        "key": name,
        "to": f"down.{name}",
        "shape": [256, 128, 3, 3],
    }
    browser.open(page(run), size)
    edges = browser.js(
        "return [...document.querySelectorAll('#account-table tbody td')]"
        ".map((one) => one.getBoundingClientRect().right)"
    )
    assert len(edges) >= 5
    assert max(edges) <= size[0]
    assert min(edges) > 0
