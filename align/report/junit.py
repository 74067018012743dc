"""JUnit XML of a run: a suite for each stage, a test case for each layer, as CI systems show it."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree as xml

from align.judge.comparison import DIFFERS, NOISE, UNCHECKED, Comparison
from align.report.report import Report, how_far
from align.report.run import Run
from common.words.controls import escaped

# What XML 1.0 cannot hold, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_text(run: Run) -> str:
    """Return the document of `run`."""
    root = junit(run)
    xml.indent(root)
    text = xml.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def junit(run: Run) -> xml.Element:
    """Return the element `testsuites`: failures differ, errors were not checked, noise is skipped.

    A rung without a report (a conversion, a training) is a suite with one case.
    """
    root = xml.Element("testsuites", name=_text(run.title))
    reports = dict(zip(run.names, run.reports, strict=True))
    for rung in run.rungs:
        suite = xml.SubElement(root, "testsuite", name=_text(rung.name))
        if run.environment.get("started"):
            stamp = str(run.environment["started"]).removesuffix(" UTC").replace(" ", "T")
            suite.set("timestamp", _text(stamp))
        if rung.name in reports:
            _add_layers(suite, rung.name, reports[rung.name])
        else:
            case = xml.SubElement(suite, "testcase", classname=_text(rung.name), name="result")
            kind = {1: "failure", 2: "error"}.get(rung.exit_code)
            if kind:
                _say(case, kind, rung.result, "")
        _count(suite, rung.seconds)
    _total(root)
    return root


def _add_layers(suite: xml.Element, name: str, report: Report) -> None:
    layers: dict[str, list[Comparison]] = {}
    for call in report.calls:
        layers.setdefault(call.layer, []).append(call)
    for path, calls in layers.items():
        case = xml.SubElement(
            suite, "testcase", classname=_text(name), name=_text(path or "(root)")
        )
        _judge(case, calls)
    if report.exit_code and not any(list(case) for case in suite):
        case = xml.SubElement(suite, "testcase", classname=_text(name), name="verdict")
        _say(case, "error" if report.exit_code > 1 else "failure", report.verdict, "")


def _judge(case: xml.Element, calls: Sequence[Comparison]) -> None:
    wrong = [call for call in calls if call.verdict == DIFFERS]
    unknown = [call for call in calls if call.verdict == UNCHECKED]
    if wrong or unknown:
        found, kind = (wrong, "failure") if wrong else (unknown, "error")
        lines = [describe(call) for call in found]
        _say(case, kind, lines[0], "\n".join(lines))
    elif all(call.verdict == NOISE for call in calls):
        words = "rounding leaves nothing to compare"
        xml.SubElement(case, "skipped", message=words)


def describe(call: Comparison) -> str:
    """Return one comparison in one line."""
    if call.verdict == UNCHECKED:
        return f"{call.where} could not be checked" + (f": {call.cause}" if call.cause else "")
    step = "" if call.step is None else f" in step {call.step}"
    return f"{call.where}{step} {how_far(call)}"


def _say(case: xml.Element, kind: str, message: str, text: str) -> None:
    words = {"failure": "not aligned", "error": "could not check"}[kind]
    xml.SubElement(case, kind, message=_text(message), type=words).text = _text(text) or None


def _count(suite: xml.Element, seconds: float | None) -> None:
    cases = suite.findall("testcase")
    for case in cases:
        case.set("time", "0")
    suite.set("tests", str(len(cases)))
    for attribute, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{kind}"))))
    suite.set("time", f"{seconds or 0.0:.3f}")


def _total(root: xml.Element) -> None:
    for attribute in ("tests", "failures", "errors", "skipped"):
        root.set(attribute, str(sum(int(suite.get(attribute, "0")) for suite in root)))
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in root):.3f}")


def _text(text: str) -> str:
    """Return `text` as XML can hold it: control characters as \\x00."""
    return escaped(_FORBIDDEN.sub(lambda found: f"\\x{ord(found[0]):02x}", text))
