"""Record, write, prove: what a port came to, in words and numbers."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from commands.entry import CHECKED_BAD, CHECKED_GOOD, COULD_NOT_CHECK
from commands.port.draws import RAISED, SEEDS, advice, shown_together
from commands.port.prove import FIRST_WEIGHTS, NAMES, Climb, drawn_alike, proven
from commands.port.record import recorded
from commands.port.repair import repaired
from common.errors import UserError
from common.files import whole_file
from common.words.language import comma, phrase
from common.words.texts import error_said
from port.folder import ASKED, GUIDE, check_names, check_place, guide, write_folder
from port.port import Port, write_port
from port.trace.graph import TracedClass
from port.write.gaps import Gap, SpellingChoice

Tell = Callable[[str], None]
_TITLES = NAMES | FIRST_WEIGHTS


def write_and_prove(asked: dict[str, Any], folder: Path, force: bool, tell: Tell) -> dict[str, Any]:
    """Return what came of one port: code, verdict, lines, outcomes; the folder is written."""
    check_place(folder, force)
    check_names(folder, [asked["spec"].partition(":")[0]])
    tell(phrase("recording {net}", net=asked["spec"]))
    record = recorded(asked)
    check_names(folder, record.files)
    for weights in record.absent:
        tell(phrase("{path} is not there: the reference begins without it", path=weights))
    for mode, why in record.failed.items():
        tell(phrase("the reference cannot run in {mode} mode: {why}", mode=mode, why=why))
    port = write_port(record, lambda path: tell(phrase("writing {path}", path=path)))
    graphs = traced_gaps(asked, port, tell)
    if graphs:
        port = write_port(record, traced=graphs)
    write_folder(folder, port, asked)
    gaps = [gap for gap in port.gaps if gap.ran]
    outcomes: list[Climb] = []
    why, told = "" if gaps else "; ".join(record.failed.values()), ""
    if not gaps and record.modes:
        outcomes, why = _proven(asked, folder, tell)
    if any(one.code == CHECKED_BAD for one in outcomes):
        port, outcomes, told = _repaired(record, port, outcomes, asked, folder, tell, graphs)
        outcomes = _drawn_again(outcomes, asked, folder, tell)
    outcomes += _first_weights(outcomes, asked, folder, tell)
    _write_guide(folder, port, asked, outcomes, why)
    if not outcomes:
        return _unproven(folder, gaps, why, port.untraced)
    if asked["weights"]:
        _convert(asked, folder)
    more = [] if asked["weights"] else advice(outcomes)
    return _done(folder, outcomes, [*([told] if told else []), *more])


def _repaired(
    record: Any,
    port: Port,
    outcomes: list[Climb],
    asked: dict[str, Any],
    folder: Path,
    tell: Tell,
    graphs: list[TracedClass],
) -> tuple[Port, list[Climb], str]:
    """Return the port with other spellings where they bring the reference's values.

    With it come its outcomes, and what to tell of the search.
    """
    seeds = {one.name: one.seed for one in outcomes}

    def write(otherwise: dict[SpellingChoice, int]) -> Port:
        made = write_port(record, otherwise=otherwise, traced=graphs)
        write_folder(folder, made, asked)
        name = folder.resolve().name
        for module in [one for one in sys.modules if one.partition(".")[0] == name]:
            del sys.modules[module]
        return made

    def climb(names: Sequence[str]) -> list[Climb]:
        found: dict[str, Climb] = {}
        try:
            for seed in sorted({seeds[name] for name in names}):
                those = [name for name in names if seeds[name] == seed]
                drawn = asked if seed == asked["seed"] else {**asked, "raised": RAISED}
                again = proven({**drawn, "seed": seed}, folder, lambda name: None, those)
                found |= {one.name: one for one in again}
            return [found[name] for name in names]
        except UserError as error:
            tell(str(error))
            return []

    return repaired(port, outcomes, write, climb, tell)


def check_again(folder: Path, tell: Tell) -> dict[str, Any]:
    """Return what a port that was edited by hand comes to now. Raises UserError without a port."""
    path = folder / ASKED
    if not path.is_file():
        raise UserError(f"--check {folder}: has no {ASKED}; give a folder that port wrote")
    asked = json.loads(path.read_text("utf-8"))
    outcomes, why = _proven(asked, folder, tell)
    outcomes += _first_weights(outcomes, asked, folder, tell)
    if not outcomes:
        return _unproven(folder, [], why)
    return _done(folder, outcomes, [] if asked["weights"] else advice(outcomes))


def _proven(asked: Mapping[str, Any], folder: Path, tell: Tell) -> tuple[list[Climb], str]:
    """Return the outcomes, none with the reason where no rung could be begun."""
    try:
        outcomes = proven(asked, folder, _climbing(tell))
        return _drawn_again(outcomes, asked, folder, tell), ""
    except UserError as error:
        return [], str(error)


def _drawn_again(
    outcomes: list[Climb], asked: Mapping[str, Any], folder: Path, tell: Tell
) -> list[Climb]:
    """Return the outcomes with what other first weights show.

    Where weights leave a layer without anything to compare, others are drawn: the rungs that it
    left open are climbed again with them. Nothing may differ with any; each layer is to be shown
    with one. Raises what `proven` raises.
    """
    for seed in range(asked["seed"] + 1, asked["seed"] + SEEDS):
        if asked["weights"] or not _left_open(outcomes):
            break
        names = [one.name for one in outcomes if one.code == COULD_NOT_CHECK]
        what = comma().join(phrase(NAMES[name]) for name in names)
        tell(phrase("{what}: too little to compare; other first weights are drawn", what=what))
        drawn = {**asked, "seed": seed, "raised": RAISED}
        found = {one.name: one for one in proven(drawn, folder, _climbing(tell), names)}
        outcomes = [
            shown_together(one, found[one.name]) if one.name in found else one for one in outcomes
        ]
    return outcomes


def _climbing(tell: Tell) -> Callable[[str], None]:
    return lambda name: tell(phrase("aligning {what}", what=phrase(NAMES[name])))


def _first_weights(
    outcomes: list[Climb], asked: Mapping[str, Any], folder: Path, tell: Tell
) -> list[Climb]:
    """Return the outcome for first weights; none where a checkpoint gives them, or nothing ran."""
    if asked["weights"] or not outcomes:
        return []
    tell(phrase("aligning {what}", what=phrase(FIRST_WEIGHTS["init"])))
    try:
        found = drawn_alike(asked, folder)
    except UserError as error:
        found = Climb("init", COULD_NOT_CHECK, None, str(error))
    return [] if found is None else [found]


def _left_open(outcomes: list[Climb]) -> bool:
    """Tell whether nothing differs, and some rung had too little to compare."""
    ran = all(one.report is not None for one in outcomes)
    return (
        ran
        and max(one.code for one in outcomes) == COULD_NOT_CHECK
        and not any(one.code == CHECKED_BAD for one in outcomes)
    )


def _convert(asked: Mapping[str, Any], folder: Path) -> None:
    from commands.subjects.callables_paddle import build_paddle
    from convert import convert_checkpoint

    net = build_paddle(f"{folder.resolve().name}.builder:build", {})
    convert_checkpoint(asked["weights"], folder / "weights.pdparams", net, force=True)


def _write_guide(
    folder: Path, port: Port, asked: Mapping[str, Any], outcomes: list[Climb], why: str
) -> None:
    told = {phrase(_TITLES[one.name]): _result(one) for one in outcomes}
    if why:
        told["nets"] = why.replace("\n", " ")
    with whole_file(folder / GUIDE) as draft:
        draft.write_text(guide(port, asked, told), encoding="utf-8")


def _result(outcome: Climb) -> str:
    from align.judge.words import Words, printed

    if outcome.report is None:
        return outcome.why.replace("\n", " ")
    words = printed(outcome.report.verdict)
    for note in outcome.report.notes:
        if Words.told(note).begins("inputs_take_no_gradient"):
            words += f"; {printed(note)}"
    if not outcome.shown_by:
        return words
    seeds = ", ".join(map(str, sorted({outcome.seed, *outcome.shown_by})))
    return phrase("{words} (with first weights of seeds {seeds})", words=words, seeds=seeds)


def _done(folder: Path, outcomes: list[Climb], told: Sequence[str] = ()) -> dict[str, Any]:
    codes = {outcome.code for outcome in outcomes}
    code = CHECKED_BAD if CHECKED_BAD in codes else max(codes)
    lines = [f"{phrase(_TITLES[one.name])}: {_result(one)}" for one in outcomes]
    for outcome in outcomes:
        found = [] if outcome.report is None else outcome.report.divergences
        lines += [f"  {_divergence(one)}" for one in found[:6]]
    lines += [] if code == CHECKED_GOOD else _no_numbers(outcomes)
    words = {
        CHECKED_GOOD: phrase("ported and proven: {folder}", folder=folder),
        CHECKED_BAD: phrase("ported, and not proven: {folder}", folder=folder),
        COULD_NOT_CHECK: phrase("ported, and could not be checked: {folder}", folder=folder),
    }
    return _answer(code, words[code], [*lines, *told], folder, outcomes)


def _no_numbers(outcomes: list[Climb]) -> list[str]:
    """Say where the reference itself computes no numbers, which a ReLU of Paddle's makes zero."""
    from align.judge.words import Cause

    for call in (call for one in outcomes if one.report is not None for call in one.report.calls):
        for cause in Cause.told(call.cause or "").parts():
            alone = cause.kind == "not_finite" and cause.values.get("reference")
            if alone or cause.kind == "not_finite_both":
                return [
                    phrase(
                        "on this input the reference itself computes NaN or infinity, first in "
                        "{layer}: what follows shows nothing; give an input that it takes "
                        "(--inputs)",
                        layer=call.layer or "(root)",
                    )
                ]
    return []


def _divergence(found: Any) -> str:
    from align.judge.words import printed

    return printed(found.words)


def traced_gaps(asked: dict[str, Any], port: Port, tell: Tell) -> list[TracedClass]:
    """Return the graphs of the classes that run through calls without a spelling."""
    places = sorted({(str(gap.where.file), gap.where.line) for gap in port.gaps if gap.ran})
    if not places:
        return []
    tell(phrase("tracing the classes of {count} calls without a spelling", count=len(places)))
    try:
        graphs: list[TracedClass] = recorded({**asked, "trace": places})
    except UserError as error:
        tell(str(error))
        return []
    return graphs


def _unproven(
    folder: Path, gaps: list[Gap], why: str, untraced: Sequence[tuple[str, str]] = ()
) -> dict[str, Any]:
    lines = [error_said(str(gap)) for gap in gaps] + ([why] if why else [])
    lines += [
        phrase("{name}: not written from its traced graph: {why}", name=name, why=reason)
        for name, reason in untraced
    ]
    words = (
        phrase("could not be written: {count} calls have no spelling", count=len(gaps))
        if gaps
        else phrase("ported, and could not be checked: {folder}", folder=folder)
    )
    return _answer(COULD_NOT_CHECK, words, lines, folder, [])


def _answer(
    code: int, words: str, lines: list[str], folder: Path, outcomes: list[Climb]
) -> dict[str, Any]:
    return {
        "code": code,
        "verdict": words,
        "folder": str(folder),
        "lines": lines,
        "rungs": {one.name: one.code for one in outcomes if one.report is not None or one.code},
    }
