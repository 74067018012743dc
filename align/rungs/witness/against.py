"""The forward rung with an ONNX graph as the reference: torch need not be installed."""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from align.arrays.batch import Inputs, NetBatch, as_batch
from align.judge.comparison import DIFFERS, UNCHECKED, Comparison
from align.judge.words import Cause, Words, first_of
from align.nets.calls import code_of, source_of
from align.report.report import Divergence, Layer, Report
from align.report.sources import users_line
from align.trial.unshown.zero_weights import hidden_by
from align.witness.graph import Graph, read_graph
from align.witness.judge import judged
from align.witness.places import folded, paths_named, places_of, to_port
from align.witness.port_pass import FromGraph, Key, PortPass
from align.witness.run_onnxruntime import WitnessRun, fed, run_graph


def align_against(
    paddle_net: Any,
    model: str | os.PathLike[str] | Graph,
    inputs: Inputs,
    *,
    rules: Any = None,
    keys: Iterable[str] = (),
) -> Report:
    """Judge `paddle_net` in eval mode against an ONNX graph, which ONNX Runtime runs.

    Args:
        paddle_net: the port, any `paddle.nn.Layer` on the CPU, with the graph's weights.
        model: the file, or what `align.witness.graph.read_graph` read of it.
        inputs: arrays by position, or by the names of the graph's inputs.
        rules: how the exported net names what the port names otherwise (`convert.names.rules`).
        keys: names of the exported net's tensors, where the graph has lost them.

    Returns:
        The Report. Every output is judged as the port's user gets it; of layers that names of the
        graph's nodes tell each call alone, on what the graph gave to it. The port is as before.

    Raises:
        UserError: ONNX Runtime is not installed, the inputs do not fit, the graph is in half
            precision. UnreadableError: the file is no ONNX model. Whatever the port itself raises.
    """
    graph = model if isinstance(model, Graph) else read_graph(model)
    return _Trial(graph, paddle_net, as_batch(inputs, "float32"), rules, keys).report()


class _Trial:
    """One alignment of a port with a graph."""

    def __init__(
        self, graph: Graph, net: Any, batch: NetBatch, rules: Any, keys: Iterable[str]
    ) -> None:
        from align.nets.layers_paddle import layer_paths, layers_by_path
        from align.witness.port_paddle import run_port
        from convert.names.rules import load_rules

        self.graph, self.net, self.batch = graph, net, batch
        self.layers = layers_by_path(net)
        fed(graph, batch)  # before the port runs on what the graph does not take
        named = paths_named(graph)
        read = None if rules is None else load_rules(rules)
        tensors = {*keys, *graph.tensors}
        self.port_of = to_port(named, tensors, read, layer_paths(net))
        self.run = partial(run_port, net, self.layers, batch)
        self.plain: PortPass = self.run("float64")
        places = places_of(graph, lambda path: path in self.port_of)
        self.places, self.folded = folded(graph, places, self._followers())
        tensors_shown = {t for place in self.places for t in (place.source, place.output) if t}
        self.names: dict[Key, tuple[str, str]] = {}  # of the tensors that arrive and leave
        self.ran: WitnessRun = run_graph(graph, batch, tensors_shown)

    def _followers(self) -> dict[str, str]:
        """Return {BatchNorm: the layer in front of it}, in the graph's names."""
        known, pairs = self._known, self.plain.followers.items()
        return {known[a]: known[b] for a, b in pairs if a in known and b in known}

    @cached_property
    def _known(self) -> dict[str, str]:
        """{layer of the port: what the graph calls it}."""
        return {port: path for path, port in reversed(list(self.port_of.items()))}

    def report(self) -> Report:
        """Judge and say it."""
        settings = {"train": False, "dtype": self.ran.dtype, "inputs": self.batch.shapes}
        report = Report("forward", settings=settings)
        given = self._given()
        rows = self._layers(given) if given else []
        wrong = any(row.verdict == DIFFERS for row in rows)
        outputs = self._outputs()
        if wrong:  # the echo of what a layer did
            outputs = [row for row in outputs if row.verdict != DIFFERS]
        report.calls = rows + outputs + self._hidden()
        report.layers = {path: self._layer(path) for path in self.layers}
        report.divergences = [self._divergence(c) for c in report.calls if c.verdict == DIFFERS]
        report.notes = self._notes(rows)
        report.settings["against"] = self._settings(rows)
        return report

    def _given(self) -> dict[Key, FromGraph]:
        """Return what the graph has for each call of the port's layers."""
        arrays = self.ran.arrays
        found: dict[Key, FromGraph] = {}
        for place in self.places:
            key = (self.port_of[place.module], place.call)
            before = self.names.get(key, ("", ""))
            names = (place.source or before[0], place.output or before[1])
            self.names[key] = names
            found[key] = FromGraph(*(arrays[name] if name else None for name in names))
        return found

    def _layers(self, given: Mapping[Key, FromGraph]) -> list[Comparison]:
        single = self.run("float32", given)
        exact = self.run("float64", given)
        rows = []
        for key in exact.order:
            if key in given:
                rows += self._call(key, given[key], exact, single)
        return rows

    def _call(
        self, key: Key, given: FromGraph, exact: PortPass, single: PortPass
    ) -> list[Comparison]:
        """Judge what arrived at one call, and what it gave on what the graph has there."""
        path, number = key
        above = path.rpartition(".")[0]
        rows = []
        source, output = self.names[key]
        for where, kind, layer, name, reference, ours, rounded in (
            ("input:0", "glue", above, source, given.source, exact.sources, single.sources),
            ("output:0", "layer", path, output, given.output, exact.outputs, single.outputs),
        ):
            if reference is None or key not in ours:
                continue
            port = ours[key]
            if port.shape != reference.shape and (kind == "glue" or self._is_equal):
                continue  # an exporter joins transposes of neighbours
            row = Comparison(layer, f"{path}#{number}", where, kind)
            moved = self.ran.moved.get(name, 0.0)
            rows.append(judged(row, reference, port, rounded.get(key), self.ran.dtype, moved))
        return rows

    @property
    def _is_equal(self) -> bool:
        """Whether all that the port returns to its user is what the graph returns."""
        return all(row.verdict not in (DIFFERS, UNCHECKED) for row in self._outputs())

    def _outputs(self) -> list[Comparison]:
        """Judge what the port returns, by the names of the graph's outputs or by position."""
        if self._judged is None:
            self._judged = self._judge_outputs()
        return list(self._judged)

    _judged: list[Comparison] | None = None

    def _judge_outputs(self) -> list[Comparison]:
        single = self.run("float32")
        ours, names = self.plain.returned, self.graph.outputs
        by_name = set(self.plain.names) == set(names)
        rows = []
        for index in range(max(len(ours), len(names))):
            row = Comparison("", "#0", f"output:{index}", "glue")
            rows.append(row)
            if index >= len(ours) or index >= len(names):
                row.verdict = UNCHECKED
                row.cause = Cause("output_of_one", port=len(ours), graph=len(names))
                continue
            name = self.plain.names[index] if by_name else names[index]
            rounded = single.returned[index] if index < len(single.returned) else None
            moved = self.ran.moved.get(name, 0.0)
            judged(row, self.ran.arrays[name], ours[index], rounded, self.ran.dtype, moved)
            row.cumulative = row.relative_error
            _doubt(row, ours[index])
        return rows

    def _layer(self, path: str) -> Layer:
        layer = self.layers[path]
        own = [one for one in layer._parameters.values() if one is not None]
        known = self._known.get(path, "")
        return Layer(
            known,
            torch_source=f"{self.graph.path.name}:{known or '(root)'}",
            paddle_class=type(layer).__name__,
            paddle_source=code_of(layer),
            parameters=sum(int(parameter.size) for parameter in own),
        )

    def _divergence(self, row: Comparison) -> Divergence:
        code = users_line(row.layer, self._source)
        return Divergence(
            row.layer,
            row.where,
            row.relative_error,
            row.floor,
            worst_index=row.worst_index,
            cause=row.cause,
            call=row.call,
            torch_source=f"{self.graph.path.name}:{self._known.get(row.layer, '') or '(root)'}",
            paddle_source=code[1] if code else self._source(row.layer),
        )

    def _source(self, path: str) -> str | None:
        return source_of(self.layers[path]) if path in self.layers else None

    def _untold(self, rows: Sequence[Comparison]) -> list[str]:
        """Return the layers without layers inside that ran and that the graph does not tell."""
        told = {row.layer for row in rows if row.kind == "layer"} | {
            self.port_of[path] for path in self.folded.values()
        }
        ran = dict.fromkeys(path for path, _ in self.plain.order)
        return [path for path in ran if not self.layers[path]._sub_layers and path not in told]

    def _hidden(self) -> list[Comparison]:
        """Return the weights of layers that ran that are zero: a graph takes no others."""
        from convert.nets.describe_paddle import describe as describe_port

        ran = {path for path, _ in self.plain.order}
        return hidden_by(self.net, describe_port(self.net), ran)

    def _notes(self, rows: Sequence[Comparison]) -> list[str]:
        file, ran = self.graph.path, self.ran
        head = {"file": file, "version": ran.version, "dtype": ran.dtype}
        floor = max((row.floor for row in self._outputs()), default=0.0)
        notes: list[str] = [Words("against", **head, floor=floor)]
        if not rows:
            return [*notes, Words("against_outputs")]
        if self.folded:
            notes.append(Words("against_folded", count=len(self.folded)))
        untold = self._untold(rows)
        if untold:
            notes.append(Words("against_untold", count=len(untold), paths=first_of(untold, 6)))
        return notes

    def _settings(self, rows: Sequence[Comparison]) -> dict[str, Any]:
        from common.files import sha256_of

        layers = {row.layer for row in rows if row.kind == "layer"}
        return {
            "file": str(self.graph.path),
            "sha256": sha256_of(self.graph.path),
            "onnxruntime": self.ran.version,
            "dtype": self.ran.dtype,
            "layers": len(layers),
            "folded": len(self.folded),
        }


def _doubt(row: Comparison, port: np.ndarray) -> None:
    """Could not check where an output is all zeros on both sides: it says nothing."""
    if row.verdict not in (DIFFERS, UNCHECKED) and not row.cause:
        if port.size == 0:
            row.verdict, row.cause = UNCHECKED, Cause("empty_on_both_sides")
        elif port.dtype.kind == "f" and not port.any():
            row.verdict, row.cause = UNCHECKED, Cause("zero_on_both_sides")
