"""What a reader has to mend: one entry for each place, with everything that leads to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from align.judge.comparison import DIFFERS, UNCHECKED, Comparison
from align.judge.words import Cause
from align.report.report import Report


@dataclass
class Mend:
    """One layer (or stretch of glue) that differs, or that could not be checked.

    `factor` is the error over its floor, None where either is not a number to divide; `worst` the
    comparison that shows it most, seen in `worst_stage`.
    """

    layer: str
    worst: Comparison
    worst_stage: str
    stages: list[str] = field(default_factory=list)
    others: int = 0
    cause: Cause | None = None
    torch_class: str = ""
    torch_source: str | None = None
    paddle_source: str | None = None
    torch_user: str | None = None
    paddle_user: str | None = None

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
    found: dict[str, Mend] = {}
    for report, name in zip(reports, names, strict=True):
        for call in report.calls:
            if call.verdict != verdict:
                continue
            known = found.get(call.layer)
            if known is None:
                found[call.layer] = known = _begin(report, call, name)
            else:
                known.others += 1
                if _shows_more(call, known.worst):
                    known.worst, known.worst_stage = call, name
                known.cause = known.cause or call.cause
            if name not in known.stages:
                known.stages.append(name)
    return list(found.values())


def unchecked(reports: Sequence[Report], names: Sequence[str]) -> list[Mend]:
    """Return what could not be checked."""
    return mends(reports, names, UNCHECKED)


def _begin(report: Report, call: Comparison, stage: str) -> Mend:
    mend = Mend(call.layer, call, stage, cause=call.cause)
    layer = report.layers.get(call.layer)
    if layer is not None:
        mend.torch_class = layer.torch_class
        mend.torch_source, mend.paddle_source = layer.torch_source, layer.paddle_source
        mend.torch_user = _user(report, call.layer, "torch_source")
        mend.paddle_user = _user(report, call.layer, "paddle_source")
    return mend


def _user(report: Report, path: str, side: str) -> str | None:
    """Return where a library's layer is used: the closest code around it that is no library's.

    None where the layer's own code is no library's.
    """
    if not is_library(getattr(report.layers[path], side) or ""):
        return None
    while path:
        path = path.rpartition(".")[0]
        source = getattr(report.layers.get(path), side, None)
        if source and not is_library(source):
            return str(source)
    return None


def is_library(source: str) -> bool:
    """Tell whether a file:line lies in an installed package."""
    return "site-packages" in source or "dist-packages" in source


def short_source(source: str | None) -> str:
    """Return a file:line without the folders that say nothing to another reader."""
    if not source:
        return ""
    for marker in ("site-packages/", "dist-packages/"):
        if marker in source:
            return source.rpartition(marker)[2]
    return source if not source.startswith("/") else "/".join(source.split("/")[-3:])


def _shows_more(call: Comparison, other: Comparison) -> bool:
    """Tell whether `call` says more of an error: a number beats none, then the larger."""
    mine, known = factor_of(call), factor_of(other)
    if mine is None or known is None:
        return mine is not None and known is None
    return mine > known
