"""Renders a run, or two side by side, with Jinja2; everything that comes from a net is escaped."""

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from align.judge.comparison import DIFFERS, EQUAL, NOISE, UNCHECKED, Comparison
from align.judge.words import in_both, outcome
from align.report.changes import compare_runs
from align.report.groups import NAMED, grouped
from align.report.html.data import VERDICTS, number, page_data, places
from align.report.html.strings import HERE, say, strings
from align.report.mends import mends, unchecked
from align.report.run import Run
from align.report.sources import short_source
from common.words.controls import escaped
from common.words.language import CHINESE, ENGLISH, asked

CHART = "uPlot.iife.min.js"
SCRIPTS = ("base.js", "chart.js", "tree.js", "detail.js", "tables.js", "curves.js", "page.js")
COMPARISON = ["base.js", "tables.js", "compare.js"]
STYLES = ("uPlot.min.css", "report.css")


@dataclass(frozen=True)
class Headline:
    """A key of strings.json, the class of its colour, and what kind of page it heads."""

    key: str
    style: str
    about: str = "alignment_report"


def render(run: Run) -> str:
    """Return the page of `run`."""
    calls = [call for report in run.reports for call in report.calls]
    counts = {
        verdict: sum(call.verdict == verdict for call in calls)
        for verdict in (EQUAL, DIFFERS, NOISE, UNCHECKED)
    }
    head = headline(run)
    return _render(
        "page.html.j2",
        [CHART, *SCRIPTS],
        [run],
        _title(say(head.key), in_both(run.title)),
        run=run,
        headline=head,
        open_rungs=[
            rung.name for rung in run.rungs if rung.exit_code and rung.name not in run.names
        ],
        data=page_data(run),
        counts=counts,
        total=len(calls),
        worst=_worst_equal(run),
        mends=grouped(mends(run.reports, run.names)),
        unchecked=grouped(unchecked(run.reports, run.names)),
        named=NAMED,
        places=places(run),
        notes=_notes(run),
    )


def render_comparison(before: Run, after: Run) -> str:
    """Return the page that lays two runs side by side."""
    changes = compare_runs(before, after)
    return _render(
        "compare.html.j2",
        COMPARISON,
        [before, after],
        _title(in_both(before.title), say("side_by_side")),
        before=before,
        after=after,
        headlines=[headline(before), headline(after)],
        changes=changes,
        order={verdict: place for place, verdict in enumerate(VERDICTS)},
        stages=len({change.stage for change in changes}),
        data=[
            [change.stage, change.layer, change.status, *_cell(change.before), *_cell(change.after)]
            for change in changes
        ],
    )


def _worst_equal(run: Run) -> Comparison | None:
    """Return the largest error that is called equal; that of statistics where there is no other."""
    values = [report for report in run.reports if report.stage != "init"]  # that: distributions
    calls = (call for report in values or run.reports for call in report.calls)
    equal = (call for call in calls if call.verdict == EQUAL)
    return max(equal, key=lambda call: call.severity, default=None)


def _cell(call: Comparison | None) -> tuple[str, Any]:
    return ("", None) if call is None else (call.verdict, number(call.relative_error, 4))


def _notes(run: Run) -> list[str]:
    own = [note for report in run.reports for note in report.notes]
    return list(dict.fromkeys([*own, *run.account.get("notes", ())]))


def headline(run: Run) -> Headline:
    """Return what a run came to: a conversion that nobody verified is not simply good."""
    code = run.exit_code
    if run.reports:
        return Headline(("aligned", "not_aligned", "could_not_check")[code], f"exit-{code}")
    if run.account and not code:
        verified = bool(run.account.get("verification"))
        key = "converted" if verified else "converted_not_verified"
        return Headline(key, "exit-0" if verified else "unproved", "conversion_report")
    about = "training_report" if run.training else "alignment_report"
    if run.training and not code:
        return Headline("trained", "exit-0", about)
    return Headline(("done_good", "done_bad", "done_unknown")[code], f"exit-{code}", about)


def _title(head: list[str], rest: list[str]) -> list[str]:
    """Return what a page's tab says in both languages."""
    colons = say("colon")
    return [f"{head[i]}{colons[i]}{rest[i]}" for i in (ENGLISH, CHINESE)]


def _render(
    template: str, scripts: list[str], runs: list[Run], title: list[str], **values: Any
) -> str:
    style, script = asset(*STYLES), asset(*scripts)
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    page = _environment().get_template(template)
    head = {"policy": policy, "style": Markup(style), "script": Markup(script)}
    named = {f"rung:{name}": in_both(name) for run in runs for name in run.names}
    words = strings() | named | {"page_title": title}
    values["data"] = _data(values["data"])
    return page.render(strings=_data(words), asked=asked(), **head, **values)


@cache
def asset(*names: str) -> str:
    """Return files of `assets/`, one after the other."""
    return "\n".join((HERE / "assets" / name).read_text(encoding="utf-8") for name in names)


def _digest(text: str) -> str:
    """Return the hash by which a page's policy admits an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _data(value: Any) -> Any:
    """Return what the page's script reads, its texts as `_harmless` has them."""
    if isinstance(value, dict):
        return {_data(key): _data(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_data(entry) for entry in value]
    return escaped(value) if isinstance(value, str) else value


def _harmless(value: Any) -> Any:
    """Return what a template prints: text is a name or a finding, and turns no line."""
    if isinstance(value, Markup):
        return Markup(escaped(value))
    return escaped(value) if isinstance(value, str) else value


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("align.report", "html/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"both": in_both, "digits": digits, "whole": whole, "place": place}
    made.filters |= {"outcome": outcome, "setting": setting}
    made.globals["say"] = say
    return made


def digits(value: float | None) -> str:
    """Return a number as people read it: two digits, powers of ten as 1.2e-13 and 4e6."""
    if value is None:
        return "–"
    return re.sub(r"e\+0?", "e", f"{value:.2g}")


def setting(value: Any) -> list[str]:
    """Return a setting as people say it, in both languages.

    Rows about single comparisons, as ONNX Runtime's answers are, stand at those.
    """
    if value is None or isinstance(value, bool):
        return say("none" if value is None else "yes" if value else "no")
    if isinstance(value, dict):
        told = {name: one for name, one in value.items() if not _is_table(one)}
        value = ", ".join(f"{name}: {setting(one)[ENGLISH]}" for name, one in told.items())
    elif isinstance(value, (list, tuple)):
        numbers = all(isinstance(one, int) for one in value)
        words = [str(one) if numbers else setting(one)[ENGLISH] for one in value]
        value = ("×" if numbers else ", ").join(words)
    return in_both(str(value))


def _is_table(value: Any) -> bool:
    rows = value if isinstance(value, list) else []
    return any("where" in row for row in rows if isinstance(row, dict))


_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,.]*(?:e[-+]?\d+)?(?:%|\b)")
_ENDS = re.compile(r"(?=[./_])")
_LINE = re.compile(r"\.\w+:\d+$")


def whole(text: str) -> Markup:
    """Return a text whose numbers are not broken across lines."""
    kept, end = [], 0
    for found in _NUMBER.finditer(text):
        kept += [escape(text[end : found.start()]), _kept(found[0])]
        end = found.end()
    return Markup("").join([*kept, escape(text[end:])])


def place(text: str | None) -> Markup:
    """Return a path or a file:line that breaks before its dots, the line's number never alone."""
    short = short_source(text)
    line = _LINE.search(short)
    path, last = (short[: line.start()], line[0]) if line else (short, "")
    pieces = [escape(piece) for piece in _ENDS.split(path)]
    return Markup("<wbr>").join([*pieces, _kept(last)] if last else pieces)


def _kept(text: str) -> Markup:
    return Markup('<span class="n">{}</span>').format(text)
