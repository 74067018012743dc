"""What a run leaves behind without a browser: JSON by its schema, JUnit, words, two runs."""

import json
import re
import subprocess
import sys
from html import unescape
from xml.etree import ElementTree as xml

import jsonschema
import pytest

from align.judge.comparison import DIFFERS, NOISE, UNCHECKED
from align.judge.words import Cause, Words, in_both
from align.report.changes import compare_runs
from align.report.html.data import page_data
from align.report.html.page import render, render_comparison
from align.report.html.strings import strings
from align.report.junit import junit
from align.report.read import read_report, read_run, run_from
from align.report.report import Report
from align.report.run import Run
from align.report.write import write_junit, write_page
from common.documents import without_defaults
from common.errors import UserError
from common.words.controls import escaped
from tests.align.report import reports
from tests.align.report.reports import HOSTILE, comparison, hostile, ladder, large, said, small
from tests.nursery import run
from tests.paths import ROOT

SCHEMA = json.loads(
    (ROOT / "align" / "report" / "schema" / "report.schema.json").read_text("utf-8")
)
RUNS = {**reports.RUNS, "large": lambda: Run.of(large(60))}


def test_a_report_comes_back_from_its_file(tmp_path):
    report = small("stem")
    report.to_json(tmp_path / "forward.json")
    assert read_report(tmp_path / "forward.json").to_dict() == report.to_dict()
    (tmp_path / "cut.json").write_text((tmp_path / "forward.json").read_text()[:-9])
    for name, told in (("cut.json", "is not JSON"), ("absent.json", "--report wrote")):
        with pytest.raises(UserError, match=f"{name}: .*{told}"):
            read_report(tmp_path / name)


@pytest.mark.parametrize("name", RUNS)
def test_json_fits_its_schema_and_comes_back_the_same(tmp_path, name):
    run = RUNS[name]()
    run.to_json(tmp_path / "run.json")
    data = json.loads((tmp_path / "run.json").read_text("utf-8"))
    jsonschema.validate(data, SCHEMA)
    for report in data["reports"]:
        jsonschema.validate(report, SCHEMA)
    again = read_run(tmp_path / "run.json")
    assert again.to_dict() == run.to_dict()
    assert render(again) == render(run)


def test_schema_itself_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_schema_names_every_field():
    known = SCHEMA["$defs"]["call"]["properties"]
    full = comparison("a", step=1, cause="x", kernels=["k"], cumulative=1e-3)
    assert set(without_defaults(full)) == set(known)


DAMAGED = {
    "no schema": (lambda d: d.pop("schema"), "schema"),
    "older": (lambda d: d.update(schema=1), "schema 1"),
    "newer": (lambda d: d.update(schema=99), "schema 99"),
    "true": (lambda d: d.update(schema=True), "schema True"),
    "wrong type": (lambda d: d["calls"][0].update(floor="much"), "calls.0.floor"),
    "unknown key": (lambda d: d["calls"][1].update(color="red"), "calls.1.color"),
    "unknown verdict": (lambda d: d["calls"][0].update(verdict="fine"), "calls.0.verdict"),
    "absent field": (lambda d: d["calls"][2].pop("verdict"), "calls.2: no verdict"),
    "verdict changed by hand": (lambda d: d.update(exit_code=0), "exit_code"),
    "divergences removed": (lambda d: (d["calls"].clear(), d["divergences"].clear()), "exit_code"),
    "other kind": (lambda d: d.update(kind="poem"), "poem"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_report_is_named_and_not_read(tmp_path, name):
    change, words = DAMAGED[name]
    data = small("stem").to_dict()
    change(data)
    (tmp_path / "bad.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        read_run(tmp_path / "bad.json")
    assert "bad.json" in str(caught.value)
    assert caught.value.exit_code == 2


def places(value, way=()):
    """Return the way to every value of a document, of lists to the first two."""
    found = [way]
    entries = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        entries = enumerate(value[:2])
    for key, entry in entries:
        found += places(entry, (*way, key))
    return found


def test_whatever_stands_anywhere_is_a_page_or_a_users_error():
    document = ladder().to_dict()
    refused = 0
    for number, way in enumerate(places(document)[1:]):
        copy = json.loads(json.dumps(document))
        holder = copy
        for key in way[:-1]:
            holder = holder[key]
        holder[way[-1]] = (None, 3, "x", [1], {"a": 1}, True)[number % 6]
        try:
            run = run_from(copy)
        except UserError:
            refused += 1
            continue
        page_data(run)
        junit(run)
    assert refused > 200


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000, '{"a": 1}', "\udcff"])
def test_what_is_no_report_is_named(tmp_path, text):
    (tmp_path / "no.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"no\.json"):
        read_run(tmp_path / "no.json")


def test_report_of_a_difference_without_a_divergence_is_not_aligned():
    report = small()
    report.calls[0].verdict = DIFFERS
    assert report.exit_code == 1
    assert "(root)" in report.verdict


def test_page_says_what_to_mend_and_by_how_much():
    page = said(render(Run.of(small("body.conv"))))
    card = page[page.index('id="to_mend"') : page.index('id="ladder"')]
    assert "body.conv" in card
    assert "stride is (2, 2), the reference has (1, 1)" in card
    assert "5e13 × what rounding explains" in card
    assert "port.py:2" in card  # where the library's layer is used
    assert "stem" not in card


def test_page_holds_hostile_names_as_text_only():
    page = render(hostile())
    assert page.count("<script") == 3  # the strings, the data, the script
    assert "<img" not in page
    assert HOSTILE not in page


def test_what_the_page_s_script_reads_turns_no_line():
    """JSON hides a mark as an escape, and the script shows what that stands for."""
    report = Report("forward")
    report.calls = [comparison("\u202ea\x1b[2J", "output:0", DIFFERS)]
    page = render(Run.of(report))
    data = re.findall(r'<script type="application/json".*?>(.*?)</script>', page, flags=re.DOTALL)
    assert len(data) == 2
    for text in data:
        shown = json.dumps(json.loads(text), ensure_ascii=False)
        assert shown == escaped(shown)
    assert r"\u202ea\u001b[2J" in str(json.loads(data[1])).replace("\\\\", "\\")


def test_page_loads_nothing():
    page = render(ladder())
    without_data = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)
    found = re.findall(r"""(?:src|href)\s*=\s*["'][^"']*""", without_data)
    assert found == ['href="data:,']
    assert "default-src 'none'" in unescape(page)
    assert "@import" not in page
    assert "url(" not in page


def test_page_cannot_be_written_is_a_users_error(tmp_path):
    (tmp_path / "file").write_text("")
    for write in (write_page, write_junit):
        with pytest.raises(UserError, match="cannot be written"):
            write(Report("forward"), tmp_path / "file" / "page.html")


def test_every_word_stands_in_both_languages():
    for key, words in strings().items():
        assert len(words) == 2, key
        assert all(words), key
        places = [set(re.findall(r"\{(\w+)\}", text)) for text in words]
        assert places[0] == places[1], key


def test_words_that_the_page_asks_for_are_in_the_table():
    folder = ROOT / "align" / "report" / "html"
    asked = set()
    for path in folder.rglob("*.js"):
        if not path.name.startswith("uPlot"):
            asked |= set(re.findall(r'\bt\("(\w+)"', path.read_text("utf-8")))
    for path in folder.rglob("*.j2"):
        asked |= set(re.findall(r'\bt\("(\w+)"', path.read_text("utf-8")))
    assert len(asked) > 60
    begun = {key for key in asked if key.endswith("_")}  # the rest is a verdict or a kind
    assert asked - begun <= set(strings())
    assert all(any(key.startswith(one) for key in strings()) for one in begun)


def test_chinese_is_in_one_table_only():
    for path in (ROOT / "align" / "report" / "html").rglob("*.*"):
        if path.suffix in {".js", ".j2", ".css", ".py"}:
            assert not re.search("[\u4e00-\u9fff]", path.read_text("utf-8")), path


def test_causes_are_said_in_both_languages():
    values = Cause("values_differ", count=3, total=4)
    assert in_both(Cause("weight", name="weight", error=0.2, cause=values)) == [
        "its weight differs by 0.2: 3 of 4 values differ",
        "其 weight 相差 0.2：4 个值中有 3 个不同",
    ]
    order = Cause("called_in_another_order", path="head", port="1, 2", reference="2, 1")
    assert in_both(Cause("shape", port=[2, 4], reference=[4, 2]).also(order)) == [
        "shape [2, 4], the reference has [4, 2]; head is called in another order: "
        "its calls 1, 2 are the reference's 2, 1",
        "形状 [2, 4]，参考为 [4, 2]；head 的调用顺序不同：其第 1, 2 次调用对应参考的第 2, 1 次",
    ]
    added = Cause("not_added", what=Words("input"), place=Words("output"))
    assert in_both(Cause("one_call", cause=added, call=1, count=2)) == [
        "its input is not added to its output (call 1 of 2)",
        "其输入 没有加到其输出（2 次调用中的第 1 次）",
    ]
    assert in_both("something new") == ["something new", "something new"]


def test_page_of_a_file_says_causes_in_both_languages(tmp_path):
    report = small("stem")
    (cause,) = {call.cause for call in report.calls if call.cause}
    report.notes.append(Words("layers_idle", count=3))
    report.to_json(tmp_path / "run.json")
    data = json.loads((tmp_path / "run.json").read_text("utf-8"))
    jsonschema.validate(data, SCHEMA)
    assert data["words"][str(cause)] == {
        "kind": "attribute",
        "name": "stride",
        "port": "(2, 2)",
        "reference": "(1, 1)",
    }
    again = read_report(tmp_path / "run.json")
    assert [call.cause.kind for call in again.calls if call.cause] == ["attribute"]
    for found in (report, again):
        page = said(render(Run.of(found)))
        for words in (cause, report.notes[-1], report.verdict):
            assert all(text in page for text in in_both(words))


def test_a_file_that_does_not_tell_kinds_is_a_page_still(tmp_path):
    data = json.loads(json.dumps(small("stem").to_dict()))
    del data["words"]
    old = run_from(data)
    assert [call.cause for call in old.reports[0].calls if call.cause] == [
        "stride is (2, 2), the reference has (1, 1)"
    ]
    assert "stride is (2, 2), the reference has (1, 1)" in said(render(old))


@pytest.mark.parametrize(
    "told", [{"kind": "of tomorrow"}, {"kind": "shape"}, {"kind": "shape", "port": 1}, {}, {"a": 1}]
)
def test_words_that_do_not_say_what_stands_there_are_left_as_they_are(told):
    data = json.loads(json.dumps(small("stem").to_dict()))
    data["words"] = {"stride is (2, 2), the reference has (1, 1)": told}
    (cause,) = {call.cause for call in run_from(data).reports[0].calls if call.cause}
    assert in_both(cause) == ["stride is (2, 2), the reference has (1, 1)"] * 2


def test_junit_has_a_case_for_each_layer():
    report = small("stem")
    report.calls += [
        comparison("noisy", verdict=NOISE),
        comparison("open", verdict=UNCHECKED, cause="random numbers"),
    ]
    root = junit(Run.of(report))
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert set(cases) == {"(root)", "stem", "body", "body.conv", "body.norm", "noisy", "open"}
    assert "off by 0.5 at [1, 2], allowed 1e-14" in cases["stem"].find("failure").get("message")
    assert "random numbers" in cases["open"].find("error").get("message")
    assert cases["noisy"].find("skipped") is not None
    assert not list(cases["body"])


def test_junit_of_nothing_is_an_error():
    (case,) = junit(Run.of(Report("forward"))).iter("testcase")
    assert "nothing was compared" in case.find("error").get("message")


SUITE = {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"}


@pytest.mark.parametrize("name", RUNS)
def test_junit_keeps_to_the_conventions(tmp_path, name):
    run = RUNS[name]()
    write_junit(run, tmp_path / "run.xml")
    root = xml.parse(tmp_path / "run.xml").getroot()
    assert root.tag == "testsuites"
    for suite in root:
        assert suite.tag == "testsuite"
        assert set(suite.attrib) <= SUITE
        for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(kind)) == len(suite.findall(f"testcase/{tag}"))
        assert int(suite.get("tests")) == len(suite.findall("testcase")) > 0
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))
        for case in suite:
            assert set(case.attrib) == {"classname", "name", "time"}
            assert {child.tag for child in case} <= {"failure", "error", "skipped"}
            assert len(case) <= 1
    total = sum(int(suite.get("tests")) for suite in root)
    assert int(root.get("tests")) == total
    bad = int(root.get("failures")) + int(root.get("errors"))
    assert bool(bad) == bool(run.exit_code)


def test_two_runs_say_what_was_mended():
    before, after = Run.of(small("stem", "body")), Run.of(small("body", "body.norm"))
    changes = {change.layer: change.status for change in compare_runs(before, after)}
    assert changes["stem"] == "mended"
    assert changes["body"] == "still"
    assert changes["body.norm"] == "new"
    assert changes["body.conv"] == ""
    page = said(render_comparison(before, after))
    assert page.index('id="mended"') < page.index(">stem<") < page.index('id="new"')


@pytest.mark.parametrize("verdict", [None, NOISE, UNCHECKED])
def test_what_is_not_compared_any_more_is_not_mended(verdict):
    before, after = small("stem"), small()
    if verdict is None:
        after.calls = [call for call in after.calls if call.layer != "stem"]
    else:
        next(c for c in after.calls if (c.layer, c.where) == ("stem", "output:0")).verdict = verdict
    changes = {c.layer: c.status for c in compare_runs(Run.of(before), Run.of(after))}
    assert changes["stem"] == "gone"


def test_call_that_was_only_there_to_be_wrong_is_mended():
    before = small()
    before.calls.append(comparison("stem", "calls", DIFFERS, float("inf")))
    changes = {c.layer: c.status for c in compare_runs(Run.of(before), Run.of(small()))}
    assert changes["stem"] == "mended"


def command(*arguments, cwd):
    return run("report", *arguments, cwd=cwd)


def test_command_rebuilds_a_page(tmp_path):
    report = small("stem")
    report.to_json(tmp_path / "run.json")
    done = command("run.json", "--junit", "run.xml", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "run.html").read_text("utf-8") == render(Run.of(report))
    assert xml.parse(tmp_path / "run.xml").getroot().get("failures") == "1"


def test_command_lays_two_runs_side_by_side(tmp_path):
    small("stem").to_json(tmp_path / "before.json")
    small().to_json(tmp_path / "after.json")
    done = command("before.json", "after.json", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    plain = command("before.json", "after.json", cwd=tmp_path).stdout.splitlines()
    assert plain[-2:] == [
        "- mended: forward stem: differs 0.5 -> equal 1e-16",
        "1 mended, 0 new, 0 still, 0 gone",
    ]
    result = json.loads(done.stdout)
    assert result["mended"] == ["forward stem: differs 0.5 -> equal 1e-16"]
    assert (tmp_path / "before-after.html").exists()


def test_command_needs_no_framework(tmp_path):
    small().to_json(tmp_path / "run.json")
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in {'torch', 'paddle'}: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        f"sys.path.insert(0, {str(ROOT / 'tools')!r}); sys.argv = ['report.py', 'run.json']\n"
        "import report; sys.exit(report.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent.json"], "absent.json"),
        (["text.json"], "is not JSON"),
        (["a", "b", "c"], "one file, or two"),
        (["good.json", "-o", "text.json/page.html"], "cannot be written"),
    ],
)
def test_command_says_what_is_wrong(tmp_path, arguments, words):
    (tmp_path / "text.json").write_text("hello")
    small().to_json(tmp_path / "good.json")
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_run_keeps_reports_and_their_rungs_together():
    data = ladder().to_dict()
    data["reports"].pop()
    with pytest.raises(UserError, match="3 reports"):
        run_from(data)


def test_verdict_of_a_run_is_its_worst(tmp_path):
    assert ladder().exit_code == 1
    assert Run("nothing").exit_code == 2
    assert Run.of(small()).exit_code == 0


def test_a_report_knows_no_painter():
    code = (
        "import sys, align.report.run, align.report.read\n"
        "drawn = ('align.report.html', 'align.report.junit', 'align.report.write', 'jinja2')\n"
        "sys.exit(', '.join(name for name in drawn if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
