"""Two runs side by side: what was mended between them, what is new, what still differs."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from align.judge.comparison import DIFFERS, EQUAL, NOISE, Comparison
from align.report.run import Run

MENDED, NEW, STILL, GONE = "mended", "new", "still", "gone"
ChangeKey = tuple[str, str, str, int | None]


@dataclass
class Change:
    """One layer of one stage in both runs. `status` is one of the above, or "" without trouble.

    `before` and `after` are its worst comparison in either run, None where it has none.
    """

    stage: str
    layer: str
    status: str
    before: Comparison | None
    after: Comparison | None

    def __str__(self) -> str:
        """Say it in one line."""
        errors = [
            "not compared" if call is None else f"{call.verdict} {call.relative_error:.2g}"
            for call in (self.before, self.after)
        ]
        return f"{self.stage} {self.layer or '(root)'}: {errors[0]} -> {errors[1]}"


@dataclass
class _LayerChanges:
    before: dict[ChangeKey, Comparison] = field(default_factory=dict)
    after: dict[ChangeKey, Comparison] = field(default_factory=dict)


def compare_runs(before: Run, after: Run) -> list[Change]:
    """Return every layer of every stage of either run, in the order of the first."""
    layers: dict[tuple[str, str], _LayerChanges] = {}
    for run, side in ((before, "before"), (after, "after")):
        for stage, call in _calls(run):
            layer = layers.setdefault((stage, call.layer), _LayerChanges())
            getattr(layer, side)[call.layer, call.call, call.where, call.step] = call
    return [
        Change(stage, path, _status(layer), _worst(layer.before), _worst(layer.after))
        for (stage, path), layer in layers.items()
    ]


def _calls(run: Run) -> Iterator[tuple[str, Comparison]]:
    for report, name in zip(run.reports, run.names, strict=True):
        for call in report.calls:
            yield name, call


def _status(layer: _LayerChanges) -> str:
    """Mended is only what is compared now and equal; what is not compared any more is gone."""
    wrong_before = {key for key, call in layer.before.items() if call.verdict == DIFFERS}
    wrong_after = any(call.verdict == DIFFERS for call in layer.after.values())
    if wrong_after:
        return STILL if wrong_before else NEW
    if not wrong_before:
        return "" if layer.before and layer.after else GONE
    verdicts = {call.verdict for call in layer.after.values()}
    open_now = {layer.after[key].verdict for key in wrong_before if key in layer.after} - {EQUAL}
    mended = EQUAL in verdicts and verdicts <= {EQUAL, NOISE} and not open_now
    return MENDED if mended else GONE


def _worst(calls: dict[ChangeKey, Comparison]) -> Comparison | None:
    def weight(call: Comparison) -> tuple[bool, bool, float]:
        error = call.relative_error
        return call.verdict == DIFFERS, call.verdict != EQUAL, error if error == error else 1e308

    return max(calls.values(), key=weight, default=None)
