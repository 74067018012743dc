"""A third witness: where torch and Paddle differ, with whom ONNX Runtime agrees."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from align.arrays.batch import Inputs, as_batch
from align.judge.compare import NOTHING_LEFT, Allowance, shown_to
from align.judge.comparison import DIFFERS, Comparison
from align.judge.words import Cause, Words, joined
from align.record.trace import CallPlace
from align.report.report import Report
from align.witness.apart import largest_difference
from align.witness.graph import Graph, read_graph
from align.witness.judge import CONSTANTS, FINER, LEAST, MARGIN
from align.witness.places import folded, places_of
from align.witness.run_onnxruntime import WitnessRun, run_graph

EXPORT = "export"  # in place of a file: torch writes the reference
HELD_BYTES = 1 << 30  # of pairs of arrays that differ; of more nobody is asked
AGREES = {  # with whom -> how that is said
    "torch": "third_torch",
    "paddle": "third_paddle",
    "neither": "third_neither",
    "both": "third_both",
}


class Differing:
    """The pairs of arrays that were found to differ: {identity of a comparison: (it, arrays)}."""

    def __init__(self) -> None:
        self.pairs: dict[int, tuple[Comparison, np.ndarray, np.ndarray]] = {}
        self.bytes = 0

    def take(
        self, reference: np.ndarray, port: np.ndarray, allowance: Allowance, into: Comparison
    ) -> None:
        """Keep one pair that differs."""
        size = reference.nbytes + port.nbytes
        if into.verdict == DIFFERS and self.bytes + size <= HELD_BYTES:
            self.bytes += size
            self.pairs[id(into)] = into, np.array(reference), np.array(port)


@contextmanager
def keeping_what_differs() -> Iterator[Differing]:
    """Keep the arrays of what differs while the block aligns, for `add_third`."""
    kept = Differing()
    with shown_to(kept.take):
        yield kept


def add_third(
    report: Report,
    kept: Differing,
    torch_net: Any,
    paddle_net: Any,
    inputs: Inputs,
    model: str | os.PathLike[str],
    *,
    rules: Any = None,
) -> None:
    """Add to each divergence of `report`, in eval mode, with whom an ONNX graph agrees.

    Args:
        report: of `align_forward`, made while `keeping_what_differs`.
        kept: what that kept.
        torch_net, paddle_net, inputs, rules: as they were aligned.
        model: an ONNX file of the reference, or "export": torch writes one.

    Causes, one note and `settings["third"]` say it. Nothing is run where nothing differs. A graph
    that gives something else than either net is of another net or of other weights: a note says
    so, and it is asked of nothing.

    Raises UserError and UnreadableError as `align_against`.
    """
    if not any(call.verdict == DIFFERS for call in report.calls):
        report.notes.append(Words("third_not_asked"))
        return
    from align.rungs.float32 import float32_noise

    file = str(model)
    with ExitStack() as stack:
        if file == EXPORT:
            from align.witness.reference_torch import export_graph

            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="third-"))
            batch = as_batch(inputs, "float32")
            model = export_graph(torch_net, batch, Path(folder) / "reference.onnx")
        graph = read_graph(model, "--third")
    noise = float32_noise(torch_net, paddle_net, inputs, rules=rules)
    witness = _Witness(graph, torch_net, inputs, noise)
    if (off := witness.off_both(torch_net, paddle_net, inputs)) > NOTHING_LEFT:
        report.notes.insert(0, Words("third_other", file=file, off=off))
        report.settings["third"] = {"file": file, "off": min(off, 1e300), "said": []}
        return
    said = _asked(report, kept, witness)
    _say(report, said, witness.ran, file)


class _Witness:
    """What a graph of the reference gives at each of its places."""

    def __init__(
        self, graph: Graph, net: Any, inputs: Inputs, noise: Mapping[CallPlace, float]
    ) -> None:
        from align.nets.layers_torch import module_paths
        from align.witness.reference_torch import followers

        batch = as_batch(inputs, "float32")
        first = {path: every[0] for every in module_paths(net).values() for path in every}
        places, _ = folded(graph, places_of(graph, first.__contains__), followers(net, batch))
        self.names: dict[CallPlace, str] = {
            ("", 0, f"output:{index}"): name for index, name in enumerate(graph.outputs)
        }
        for place in places:
            at = (first[place.module], place.call)
            for where, name in (("input:0", place.source), ("output:0", place.output)):
                if name:
                    self.names[(*at, where)] = name
        self.graph = graph
        self.ran = run_graph(graph, batch, self.names.values())
        self.noise = self._noise(noise)

    def off_both(self, torch_net: Any, paddle_net: Any, inputs: Inputs) -> float:
        """Return how far the graph's outputs are off those of the nearer net, of their largest.

        Infinite where they are of other shapes or another number: it is a graph of another net.
        """
        from align.nets.layers_paddle import layers_by_path
        from align.witness.port_paddle import run_port
        from align.witness.reference_torch import outputs_of

        batch = as_batch(inputs, "float32")
        found = [self.ran.arrays[name] for name in self.graph.outputs]
        off = _furthest(outputs_of(torch_net, batch), found)
        if off > NOTHING_LEFT:
            port = run_port(paddle_net, layers_by_path(paddle_net), batch, "float64")
            off = min(off, _furthest(port.returned, found))
        return off

    def _noise(self, noise: Mapping[CallPlace, float]) -> dict[str, float]:
        """Return how far float32 moves each tensor, as a fraction, by its name in the graph."""
        most = max(noise.values(), default=0.0)
        known = {self.names[at]: found for at, found in noise.items() if at in self.names}
        return {name: known.get(name, most) for name in self.names.values()}

    def voice(self, call: Comparison, reference: np.ndarray, port: np.ndarray) -> dict[str, Any]:
        """Return with whom the graph agrees at one comparison, and how far it is off either."""
        path, _, number = call.call.rpartition("#")
        name = self.names.get((path, int(number) if number.isdigit() else -1, call.where))
        found = self.ran.arrays.get(name or "")
        row: dict[str, Any] = {"layer": call.layer, "call": call.call, "where": call.where}
        if found is None or found.shape != reference.shape:
            return row | {"agrees": None}
        finite = np.isfinite(reference)
        scale = float(np.abs(reference[finite]).max(initial=0.0)) or 1.0
        finer = MARGIN * FINER[self.ran.dtype] * self.noise[name or ""]
        constants = CONSTANTS * self.ran.moved.get(name or "", 0.0) / scale
        allowed = max(LEAST[self.ran.dtype], finer, constants)
        off = [_apart(found, array) / scale for array in (reference, port)]
        close = (off[0] <= allowed, off[1] <= allowed)
        agrees = {(True, False): "torch", (False, True): "paddle", (True, True): "both"}
        figures = {"from_torch": off[0], "from_paddle": off[1], "allowed": allowed}
        return row | {"agrees": agrees.get(close, "neither"), **figures}


def _furthest(outputs: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    if [one.shape for one in found] != [one.shape for one in outputs]:
        return float("inf")
    return max((_share(a, b) for a, b in zip(outputs, found, strict=True)), default=0.0)


def _share(reference: np.ndarray, found: np.ndarray) -> float:
    """Return the largest difference as a share of the largest value; 0 of whole numbers."""
    if reference.dtype.kind != "f":
        return 0.0
    finite = np.isfinite(reference)
    return _apart(found, reference) / (float(np.abs(reference[finite]).max(initial=0.0)) or 1.0)


def _apart(found: np.ndarray, array: np.ndarray) -> float:
    """Return the largest difference, infinite where two arrays cannot be the same."""
    same = found.shape == array.shape and (np.isfinite(found) == np.isfinite(array)).all()
    return largest_difference(found, array) if same else float("inf")


def _asked(report: Report, kept: Differing, witness: _Witness) -> list[dict[str, Any]]:
    """Ask of every comparison that differs; its cause and that of its divergence say it."""
    said, causes = [], dict[tuple[str, str, str], Cause]()
    for call in report.calls:
        if call.verdict != DIFFERS:
            continue
        pair = kept.pairs.get(id(call))
        row: dict[str, Any] = {"layer": call.layer, "call": call.call, "where": call.where}
        row = witness.voice(*pair) if pair else row | {"agrees": None}
        said.append(row)
        if row["agrees"]:
            cause = Cause(AGREES[row["agrees"]])
            call.cause = joined([call.cause, cause])
            causes.setdefault((call.layer, call.where, call.call), cause)
    report.divergences = [
        replace(found, cause=joined([found.cause, causes.get(_key(found))]))
        for found in report.divergences
    ]
    return said


def _key(found: Any) -> tuple[str, str, str]:
    return found.layer, found.where, found.call


def _say(report: Report, said: Sequence[Mapping[str, Any]], ran: WitnessRun, file: str) -> None:
    counts = {voice: sum(row["agrees"] == voice for row in said) for voice in AGREES}
    head = {"version": ran.version, "dtype": ran.dtype}
    untold = sum(row["agrees"] is None for row in said)
    note = Words("third", asked=len(said), untold=untold, **counts, **head)
    report.notes.insert(0, note)
    report.settings["third"] = {"file": file, **head, "said": list(said)}
