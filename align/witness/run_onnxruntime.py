"""ONNX Runtime runs a graph once, and shows every tensor that is asked for."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from align.arrays.batch import NetBatch
from align.arrays.trees import leaves
from align.witness.apart import largest_difference
from align.witness.double import in_dtype, nudged
from align.witness.graph import Graph, GraphInput
from common.errors import UnreadableError, UserError

FATAL = 4  # what ONNX Runtime prints: nothing below
PRECISIONS = ("float64", "float32")  # the first that it has every kernel for


@dataclass(frozen=True)
class WitnessRun:
    """What a graph gave: {name: array}, in which precision it ran, by which version.

    `moved` is {name: how far it moves where constants that the file rounded to float32 are one
    unit further}, of a graph that runs in float64.
    """

    arrays: dict[str, np.ndarray]
    dtype: str
    version: str
    moved: dict[str, float]


def run_graph(graph: Graph, batch: NetBatch, wanted: Iterable[str]) -> WitnessRun:
    """Run a graph in the finest precision that ONNX Runtime has all its kernels for.

    batch: arrays, by position or by the names of the graph's inputs. wanted: names of tensors;
    those that it returns come along.

    Raises UserError where the inputs are not those that it takes, or it does not run on them;
    UnreadableError where ONNX Runtime cannot open it.
    """
    import onnxruntime

    given = fed(graph, batch)
    names = list(dict.fromkeys([*graph.outputs, *wanted]))
    told = ""
    for dtype in PRECISIONS:
        model = in_dtype(graph.model, dtype) if dtype == PRECISIONS[0] else _lowered(graph.model)
        try:
            session = None if model is None else _session(model, names)
        except Exception as error:
            told = " ".join(str(error).split())[:300]
            continue
        if session is not None:
            feed = {name: _as(array, dtype) for name, array in given.items()}
            arrays = _run(session, graph, names, feed)
            moved = _moved(graph, model, arrays, feed) if dtype == PRECISIONS[0] else {}
            return WitnessRun(arrays, dtype, onnxruntime.__version__, moved)
    raise UnreadableError(f"{graph.path}: ONNX Runtime cannot open it: {told}")


def _lowered(model: Any) -> Any:
    """Return a graph in float32, as it is where it cannot be rewritten."""
    return in_dtype(model, "float32") or model


def _moved(
    graph: Graph, model: Any, arrays: Mapping[str, np.ndarray], feed: Mapping[str, np.ndarray]
) -> dict[str, float]:
    further = nudged(model)
    if further is None:
        return {}
    others = _run(_session(further, list(arrays)), graph, list(arrays), feed)
    return {
        name: largest_difference(array, others[name])
        for name, array in arrays.items()
        if array.dtype.kind == "f" and array.shape == others[name].shape
    }


def _session(model: Any, names: list[str]) -> Any:
    """Return a session that shows `names`, with nothing fused."""
    import onnx
    import onnxruntime

    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    there = {value.name for value in shown.graph.output}
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in there)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)
    options.log_severity_level = FATAL
    return onnxruntime.InferenceSession(
        shown.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _run(
    session: Any, graph: Graph, names: list[str], feed: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    try:
        found = session.run(names, dict(feed))
    except Exception as error:
        words = " ".join(str(error).split())[:300]
        raise UserError(
            f"{graph.path}: ONNX Runtime does not run it on this input: {words}"
        ) from None
    return {name: np.asarray(array) for name, array in zip(names, found, strict=True)}


def _as(array: np.ndarray, dtype: str) -> np.ndarray:
    return array.astype(dtype) if array.dtype.kind == "f" else array


def fed(graph: Graph, batch: NetBatch) -> dict[str, np.ndarray]:
    """Return {name of an input: array}; UserError where they are not what the graph takes."""
    wanted = graph.inputs
    if batch.kwargs and not batch.args:
        if {given.name for given in wanted} == set(batch.kwargs):
            arrays = [batch.kwargs[given.name] for given in wanted]
        else:
            arrays = leaves(dict(batch.kwargs))
    else:
        arrays = leaves((batch.args, dict(batch.kwargs)))
    if len(arrays) != len(wanted):
        takes = ", ".join(_said(given) for given in wanted)
        raise UserError(
            f"{graph.path}: takes {len(wanted)} inputs: {takes}; got {len(arrays)}: give them by "
            "--input-shape, once for each, or by --inputs FILE.npz"
        )
    for given, array in zip(wanted, arrays, strict=True):
        _check(graph, given, np.asarray(array))
    return {
        given.name: _whole(np.asarray(array), given)
        for given, array in zip(wanted, arrays, strict=True)
    }


def _check(graph: Graph, given: GraphInput, array: np.ndarray) -> None:
    fits = len(given.shape) == array.ndim and all(
        length in (-1, found) for length, found in zip(given.shape, array.shape, strict=True)
    )
    kinds = np.dtype(given.dtype).kind, array.dtype.kind
    if not fits or (kinds[0] != kinds[1] and not set(kinds) <= {"i", "u"}):
        raise UserError(
            f"{graph.path}: takes {_said(given)}, got {array.dtype} {list(array.shape)}: give what "
            "it takes, or export it with dynamic axes"
        )


def _whole(array: np.ndarray, given: GraphInput) -> np.ndarray:
    return array if array.dtype.kind == "f" else array.astype(given.dtype)


def _said(given: GraphInput) -> str:
    shape = ["any" if length < 0 else length for length in given.shape]
    return f"{given.name} {given.dtype} [{', '.join(map(str, shape))}]"
