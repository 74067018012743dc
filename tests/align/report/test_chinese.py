"""In Chinese, screens and pages say nothing in English but the names of things."""

import io
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from align.judge.comparison import DIFFERS, NOISE, UNCHECKED
from align.judge.words import Cause, Words, in_both, printed, table
from align.report.html.page import render, render_comparison, setting
from align.report.html.strings import strings
from align.report.report import Divergence
from align.report.run import Run, Rung
from align.report.terminal import print_report
from align.rungs.metric.made import kind_of, made_cases
from common.documents import write_text
from common.terminal import Screen, screen
from common.words import language
from tests.align.report.browser import chromium
from tests.align.report.reports import comparison, ladder, said, small
from tests.align.report.test_agreement import converted
from tests.align.report.test_groups import blocks
from tests.paths import TOOLS

WORD = re.compile(r"[A-Za-z][A-Za-z_]+")
# Layers, tensors, files, settings, programs and the machine are called the same in both.
NAMES = set(
    WORD.findall("""
        stem body conv norm noisy open toy blocks output input grad weight port net py stride
        epsilon groups Conv Norm Net Block report DIR Paddle torch paddle python Python
        mIoU float eval train
        stdc pth English OMP_NUM_THREADS Linux no verify numpy paddlepaddle torch2paddle glibc fc
        cpu with UTC forward
    """)
)


@pytest.fixture
def chinese(monkeypatch):
    monkeypatch.setattr(language, "_chosen", [language.CHINESE])


def english_in(text):
    return sorted({word for word in WORD.findall(text) if word not in NAMES})


def has(word):
    return lambda name: name.endswith(word) or name.startswith(word)


def noisy_report():
    report = blocks()
    report.calls.append(comparison("noisy", "grad:b", NOISE))
    report.calls.append(comparison("open", verdict=UNCHECKED, cause=Cause("no_gradient")))
    report.calls.append(comparison("", "output:0", DIFFERS, 0.5, step=2, kernels=["a: b"]))
    report.divergences.append(Divergence("", "input:0", 0.5, 1e-14, call="stem#0"))
    report.notes.append(Words("layers_idle", count=3))
    return report


@pytest.mark.parametrize("width", [None, 60, 120])
@pytest.mark.parametrize("make", [small, noisy_report])
def test_the_screen_is_chinese(chinese, make, width):
    file = io.StringIO()
    plain = {"markup": False, "highlight": False, "color_system": None}
    given = {"file": file, "force_terminal": True, "width": width, **plain}
    print_report(make(), Screen(**given) if width else screen(file=file), "toy")
    # A line of Chinese has few spaces: a narrow window may cut a name.
    cut = [word for word in english_in(file.getvalue()) if not any(map(has(word), NAMES))]
    assert cut == [] if width == 60 else english_in(file.getvalue()) == []
    assert printed(make().verdict) in file.getvalue().replace("\n", "")


def test_the_report_itself_stays_english(chinese, tmp_path):
    report = noisy_report()
    report.to_json(tmp_path / "report.json")
    text = (tmp_path / "report.json").read_text("utf-8")
    assert not re.search("[\u4e00-\u9fff]", text)
    assert str(report.divergences[-1]).startswith("(root) input:0 at stem#0: off by 0.5")


def every_page():
    run_of_all = ladder()
    run_of_all.add(noisy_report(), "forward, train", 1.0)
    run_of_all.rungs.append(Rung("evidence", 2, Words("no_evidence", rounds=1)))
    run_of_all.title = Words("title_reproduce", name="stdc")
    cast = "3 tensors cast from the file's float64 to the net's float32, no value changed"
    run_of_all.account["notes"] = [cast]
    return {
        "all": render(run_of_all),
        "good": render(Run.of(small())),
        "conversion": render(converted({})),
        "two": render_comparison(Run.of(small("stem")), Run.of(small("body"))),
    }


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.parametrize("name", ["all", "good", "conversion", "two"])
def test_the_page_is_chinese(browser, tmp_path, name):
    path = tmp_path / "page.html"
    write_text(path, every_page()[name])
    browser.open(path)
    browser.click("#language")
    browser.js("document.querySelector('.mends .go')?.click()")
    browser.js("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    # Versions, the machine and code are no words.
    browser.js("document.querySelectorAll('code, .command').forEach((one) => one.remove())")
    shown = browser.js("return document.body.innerText")
    shown += browser.js(
        "return [...document.querySelectorAll('[aria-label], [placeholder]')].filter((one) =>"
        " one.offsetParent).map((one) => `${one.ariaLabel || ''} ${one.placeholder || ''}`)"
        ".join(' ')"
    )
    assert english_in(shown.replace("torch2paddle-seg", "")) == []


@pytest.mark.parametrize("kind", table())
def test_every_cause_and_note_has_its_chinese(kind):
    english, chinese = table()[kind]
    places = [re.findall(r"{(\w+)", text) for text in (english, chinese)]
    assert set(places[0]) == set(places[1])
    bare = re.sub(r"{[^}]*}", "", english)
    if re.search("[A-Za-z]{3}", bare.replace("(beta1, beta2)", "").replace("epsilon", "")):
        assert re.search("[\u4e00-\u9fff]", chinese), kind


@pytest.mark.parametrize("key", strings())
def test_every_word_of_the_page_has_its_chinese(key):
    english, chinese = strings()[key]
    assert english != chinese
    assert english_in(re.sub(r"{\w+}", "", chinese)) == []


@pytest.mark.parametrize("how", [{"options": ["--lang", "zh"]}, {"locale": "zh_CN.UTF-8"}])
def test_a_command_prints_chinese(tmp_path, how):
    small("stem").to_json(tmp_path / "report.json")
    file = tmp_path / "report.json"
    done = typed(how.get("locale", "C.UTF-8"), file, *how.get("options", ()))
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "前向：未对齐：stem"
    assert "已写入：" in done.stdout
    plain = typed("C.UTF-8", file)
    assert plain.stdout.splitlines()[-1] == "forward: not aligned: stem"


def test_what_cannot_print_chinese_gets_english(tmp_path):
    small("stem").to_json(tmp_path / "report.json")
    done = typed("zh_CN.UTF-8", tmp_path / "report.json", PYTHONIOENCODING="ascii")
    assert done.stdout.splitlines()[-1] == "forward: not aligned: stem"


def typed(locale, *options, **variables):
    """Run tools/report.py in a locale."""
    environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "1", **variables}
    command = [sys.executable, str(TOOLS / "report.py"), *map(str, options)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_said_takes_away_nothing_but_breaks():
    assert said('a<wbr>.b <span class="n">1e-07</span> &lt;i&gt;') == "a.b 1e-07 <i>"


def test_what_stands_for_a_layer_or_a_batch_is_a_word():
    report = small("stem")
    report.divergences.append(Divergence("(optimizer)", "lr", 0.5, 1e-14))
    report.divergences.append(Divergence("(loss)", "output:0", 0.5, 1e-14))
    report.divergences.append(Divergence("batch 0", "attribute:training", 0.5, 1e-14))
    english, chinese = in_both(report.verdict)
    assert english == "not aligned: stem, (optimizer), (loss), batch 0"
    assert chinese == "未对齐：stem，（优化器），（损失），批次 0"
    told = in_both(report.divergences[-1].words)[1]
    assert english_in(told) == ["training"]
    assert "属性 training" in told


def test_made_batches_have_names_in_both_languages():
    label = np.array([[[0, 1, 2], [255, 1, 2]]])
    for case in made_cases(kind_of([(label % 3, label)], 3, 255)):
        for name in case.names:
            assert in_both(name)[0] == name
            assert english_in(in_both(name)[1]) == [], name
    told = "not aligned: made batch 1 (class 4 absent from the label alone), made batch (mine)"
    assert in_both(told)[1].endswith("构造批次 1（仅标签中没有类别 4）, 构造批次（mine）")


@pytest.mark.parametrize(
    ("value", "english", "chinese"),
    [
        (True, "yes", "是"),
        (None, "none", "无"),
        ({"0": [2, 3, 64, 96]}, "0: 2×3×64×96", "0: 2×3×64×96"),
        ([{"0": [1], "label": [1, 2]}], "0: 1, label: 1×2", "0: 1, label: 1×2"),
        (0, "0", "0"),
        ({"file": "export", "said": [{"where": "output:0"}]}, "file: export", "file: export"),
    ],
)
def test_a_setting_is_no_python(value, english, chinese):
    assert setting(value) == [english, chinese]


def test_an_error_that_ended_a_rung_is_told_in_both_languages():
    run = Run("stdc toy")
    run.rungs.append(Rung("convert", 2, "nowhere.pth: no such file", 0.1))
    for page in (render(run), render_comparison(run, run)):
        assert '<span lang="zh">nowhere.pth：没有这样的文件</span>' in page
        assert '<span lang="en">nowhere.pth: no such file</span>' in page
