"""What the page's script gets: a run in columns, every value a number, a text or null."""

from collections.abc import Mapping
from typing import Any

from align.judge.comparison import DIFFERS, EQUAL, NOISE, UNCHECKED, Comparison
from align.judge.where import Where
from align.judge.words import Words, in_both, listed
from align.report.report import Report
from align.report.run import Run
from align.report.sources import is_library, short_source

VERDICTS = (EQUAL, NOISE, UNCHECKED, DIFFERS)  # from good to bad


def page_data(run: Run) -> dict[str, Any]:
    """Return everything that the page draws, JSON-ready and compact."""
    return {
        "stages": [
            stage_data(report, name) for report, name in zip(run.reports, run.names, strict=True)
        ],
        "account": account_data(run.account),
        "training": training_curves(run.training),
    }


def stage_data(report: Report, name: str) -> dict[str, Any]:
    """Return one stage: its layers, its comparisons in columns, its steps."""
    texts = _Texts()
    calls = shown_calls(report.calls)
    return {
        "name": name,
        "kind": report.stage,
        "counts": [sum(call.verdict == verdict for call in report.calls) for verdict in VERDICTS],
        "exit": report.exit_code,
        "layers": [
            [
                path,
                layer.reference,
                layer.torch_class,
                layer.paddle_class,
                texts.index(short_source(layer.torch_source)),
                texts.index(short_source(layer.paddle_source)),
                int(is_library(layer.torch_source or "")),
                {name: [_word(value) for value in pair] for name, pair in layer.attributes.items()},
                layer.parameters,
            ]
            for path, layer in report.layers.items()
        ],
        "calls": _columns(calls, texts),
        "texts": texts.known,
        "steps": step_curves(report),
    }


def shown_calls(calls: list[Comparison]) -> list[Comparison]:
    """Return each comparison once: of those of several training steps the one that shows most."""
    kept: dict[tuple[str, str, str], Comparison] = {}
    for call in calls:
        key = (call.layer, call.call, call.where)
        if key not in kept or _weight(call) > _weight(kept[key]):
            kept[key] = call
    return list(kept.values())


def places(run: Run) -> dict[tuple[str, str, str, str], tuple[int, int]]:
    """Return {(stage, layer, call, where): (its stage, its comparison) in the page's data}."""
    return {
        (name, call.layer, call.call, call.where): (stage, index)
        for stage, (report, name) in enumerate(zip(run.reports, run.names, strict=True))
        for index, call in enumerate(shown_calls(report.calls))
    }


def _weight(call: Comparison) -> tuple[int, float]:
    error = call.relative_error
    return VERDICTS.index(call.verdict), error if error == error else float("inf")


class _Texts:
    """Texts that occur often, each once, in both languages."""

    def __init__(self) -> None:
        self.known: list[list[str]] = []
        self._places: dict[str, int] = {}

    def index(self, text: str | None) -> int:
        """Return the place of `text` in `known`, -1 for none."""
        if not text:
            return -1
        if text not in self._places:
            self._places[text] = len(self.known)
            self.known.append(in_both(text))
        return self._places[text]


def _columns(calls: list[Comparison], texts: _Texts) -> dict[str, list[Any]]:
    return {
        "layer": [texts.index(call.layer) for call in calls],
        "call": [texts.index(call.call) for call in calls],
        "where": [texts.index(call.where) for call in calls],
        "kind": [texts.index(call.kind) for call in calls],
        "verdict": [VERDICTS.index(call.verdict) for call in calls],
        "error": [number(call.relative_error, 4) for call in calls],
        "floor": [number(call.floor, 4) for call in calls],
        "added": [number(call.cumulative, 4) for call in calls],
        "shape": [texts.index("×".join(map(str, call.shape))) for call in calls],
        "worst": [list(call.worst_index or ()) for call in calls],
        "values": [[number(call.reference_value, 9), number(call.port_value, 9)] for call in calls],
        "scale": [number(call.scale, 4) for call in calls],
        "step": [call.step for call in calls],
        "cause": [texts.index(call.cause) for call in calls],
        "kernels": [texts.index(_listed(call.kernels)) for call in calls],
        "bars": [call.histogram for call in calls],
    }


def _listed(kernels: list[str]) -> str | None:
    return listed([Words.told(kernel) for kernel in kernels]) if kernels else None


def step_curves(report: Report) -> dict[str, list[Any]]:
    """Return the curves of forced training steps: losses of both sides, rate, norm, errors."""
    steps = report.settings.get("steps")
    if not isinstance(steps, list) or not steps:
        return {}
    losses = {call.step: call for call in report.calls if call.at == Where("loss")}
    port = [losses.get(row.get("step")) for row in steps]
    free = report.settings.get("free_run") or []
    return {
        "step": [row.get("step") for row in steps],
        "reference": [number(row.get("loss"), 7) for row in steps],
        "port": [None if call is None else number(call.port_value, 7) for call in port],
        "difference": [None if call is None else number(call.relative_error, 4) for call in port],
        "lr": [number(row.get("lr"), 6) for row in steps],
        "norm": [number(row.get("gradient_norm"), 6) for row in steps],
        "worst": [number(row.get("worst"), 4) for row in steps],
        "free": [number(value, 4) for value in free],
    }


def training_curves(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the curves of a run's `log.jsonl`."""
    rows = training.get("log") or []
    losses = [row for row in rows if "loss" in row]
    values = [row for row in rows if "mean_iou" in row]
    if not losses and not values:
        return {}
    return {
        "framework": str(training.get("framework", "")),
        "iteration": [row.get("iteration") for row in losses],
        "loss": [number(row.get("loss"), 6) for row in losses],
        "lr": [number(row.get("lr"), 6) for row in losses],
        "validated": [row.get("iteration") for row in values],
        "mean_iou": [number(row.get("mean_iou"), 5) for row in values],
    }


def account_data(account: Mapping[str, Any]) -> list[list[str]]:
    """Return rows of name in the file, shape, dtype, what became of it, name in the net or why.

    The last stands in English and in Chinese.
    """
    rows = []
    for row in account.get("source_tensors", []):
        to = [row["to"], *row.get("also", [])] if row.get("to") else [row.get("reason") or ""]
        shape = "×".join(map(str, row["shape"]))
        rows.append([row["key"], shape, row["dtype"], row["became"], *in_both(", ".join(to))])
    for row in account.get("target_tensors", []):
        if row.get("source") is None:
            shape = "×".join(map(str, row["shape"]))
            why = ": ".join(filter(None, (row["key"], row.get("reason"))))
            rows.append(["", shape, row["dtype"], row["change"], *in_both(why)])
    return rows


def number(value: Any, digits: int) -> Any:
    """Return a float with so many digits; "inf", "nan" and the like as texts; None as it is."""
    if value is None or isinstance(value, str):
        return value
    value = float(value)
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    return float(f"{value:.{digits}g}")


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_word(entry) for entry in value)
    return str(value)
