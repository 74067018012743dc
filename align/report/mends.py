"""What a reader has to mend: one entry for each place, with everything that leads to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from align.judge.comparison import DIFFERS, UNCHECKED, Comparison
from align.judge.words import OPTIMIZER, Cause, Words, joined
from align.report.report import Divergence, Report, part_of_recipe, reason, subject
from align.report.sources import is_library, users_line


@dataclass
class Mend:
    """One layer (or stretch of glue) that differs, or that could not be checked.

    Or one thing that the optimizer does otherwise: `layer` is `OPTIMIZER`. `layers` are those that
    show it. `factor` is the error over its floor, None where either is not a number to divide;
    `worst` the comparison that shows it most, seen in `worst_stage`, `first` the first one. A
    framework's layer is used in the code `paddle_user`, whose name for it is `inside`.
    """

    layer: str
    first: Comparison
    worst: Comparison
    worst_stage: str
    stages: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    others: int = 0
    cause: Words | None = None
    torch_class: str = ""
    torch_source: str | None = None
    paddle_source: str | None = None
    torch_user: str | None = None
    paddle_user: str | None = None
    inside: str = ""

    @property
    def factor(self) -> float | None:
        """How many times the floor the error is."""
        return factor_of(self.worst)


def factor_of(call: Comparison) -> float | None:
    """Return error / floor, None where either is 0, infinite or NaN."""
    error, floor = call.relative_error, call.floor
    if not floor or not 0.0 < error < float("inf"):
        return None
    return error / floor


def mends(reports: Sequence[Report], names: Sequence[str], verdict: str = DIFFERS) -> list[Mend]:
    """Return what differs (or is `UNCHECKED`) in any stage, in the order of the stages."""
    found: dict[tuple[str, str, bool], Mend] = {}
    for report, name in zip(reports, names, strict=True):
        # Later steps show an optimizer's fault again, with other numbers: it is the first one's.
        shown: dict[tuple[str, str], tuple[str, str]] = {}
        for call in report.calls:
            if call.verdict != verdict:
                continue
            whose = key_of(call)
            if whose[0] == OPTIMIZER:
                whose = shown.setdefault((call.layer, call.where), whose)
            key = (*whose, call.kind == "init")  # how a layer begins is apart from what it does
            known = found.get(key)
            if known is None:
                found[key] = known = _begin(report, call, name)
            else:
                known.others += 1
                if _shows_more(call, known.worst):
                    known.worst, known.worst_stage = call, name
                known.cause = _causes(known.cause, call)
            if call.layer not in known.layers:
                known.layers.append(call.layer)
            if name not in known.stages:
                known.stages.append(name)
    return list(found.values())


def key_of(found: Comparison | Divergence) -> tuple[str, str]:
    """Return what findings of one mend have in common: (layer, or optimizer; of it the cause)."""
    whose = subject(found)
    return whose, reason(found) if whose == OPTIMIZER else ""


def unchecked(reports: Sequence[Report], names: Sequence[str]) -> list[Mend]:
    """Return what could not be checked."""
    return mends(reports, names, UNCHECKED)


def _begin(report: Report, call: Comparison, stage: str) -> Mend:
    path = subject(call)
    mend = Mend(path, call, call, stage, cause=call.cause)
    if path == OPTIMIZER:
        mend.cause = reason(call) or None
        path = part_of_recipe(call, report.layers)
    layer = report.layers.get(path)
    if layer is not None:
        mend.torch_class = layer.torch_class
        mend.torch_source, mend.paddle_source = layer.torch_source, layer.paddle_source
        if user := _user(report, path, "torch_source"):
            mend.torch_user = user[1]
        if user := _user(report, path, "paddle_source"):
            mend.inside, mend.paddle_user = path[len(user[0]) :].lstrip("."), user[1]
    return mend


def _user(report: Report, path: str, side: str) -> tuple[str, str] | None:
    """Return (path, file:line) of the user's code in which a framework's layer is used.

    None where the layer's own code is no framework's.
    """
    if not is_library(getattr(report.layers[path], side) or ""):
        return None
    return users_line(path, lambda at: getattr(report.layers.get(at), side, None))


def _causes(known: Words | None, call: Comparison) -> Words | None:
    """Return the cause of a layer with what a further comparison says of it.

    Each tensor has its own law of first weights, each static attribute its own value.
    """
    is_own = call.kind in ("init", "attribute") and isinstance(known, Cause) and call.cause
    if is_own and str(call.cause) not in str(known):
        return joined([known, call.cause])  # type: ignore[list-item]  # `is_own` says that it is one
    return known or call.cause


def _shows_more(call: Comparison, other: Comparison) -> bool:
    """Tell whether `call` says more of an error: a number beats none, then the larger."""
    mine, known = factor_of(call), factor_of(other)
    if mine is None or known is None:
        return mine is not None and known is None
    return mine > known
