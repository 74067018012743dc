"""The graph of one call of a module, by torch.export, as plain data."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from common.nets import members
from port.record.describe_torch import described
from port.record.names_torch import names_of, torch_class_of
from port.trace.calls_torch import SeenRun
from port.trace.children_torch import as_operations
from port.trace.graph import MadeTensor, TracedCall, TracedGraph, TraceError, Weight
from port.trace.nodes_torch import NodeReader, axes_of
from port.trace.regions_torch import changes_refused, detach_regions, regions_refused
from port.trace.trees_torch import PLAIN, checked_constant, leaves_of, mapped

HasRow = Callable[[str], object]
_MOST = 256  # numbers of a tensor that is written out
_OWNER = "net"  # what the traced module is called inside the one that is exported
_HARMLESS = ("aten.detach_.default",)


def traced_call(run: SeenRun, has_row: HasRow) -> TracedCall:
    """Return the graph of a call, or why it has none; has_row: tells of an operation."""
    call = TracedCall(run.path, run.training, _plain(run.module))
    modes = {module: module.training for module in members.modules(run.module)}
    try:
        run.module.train(run.training)
        with as_operations(run.module, run.writing), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call.graph = _graph(run, has_row)
    except TraceError as error:
        call.failed = str(error)
    except Exception as error:  # whatever the user's code or torch's tracer raises
        words = str(error).strip().partition("\n")[0]
        call.failed = f"torch.export: {type(error).__name__}: {words}"
    finally:
        for module, training in modes.items():
            module.training = training
    return call


def _plain(module: nn.Module) -> dict[str, Any]:
    """Return the numbers and words that an instance holds."""
    held = {k: v for k, v in vars(module).items() if k != "training"}
    return {k: v for k, v in held.items() if type(v) in PLAIN and v is not None}


class _Box:
    """Keeps an output: what a traced module holds itself is put back behind the trace."""

    output: Any = None


class _Called(nn.Module):
    """Calls a module with tensors in a row, and returns those of its output."""

    def __init__(self, run: SeenRun) -> None:
        super().__init__()
        self.net = run.module
        self.run = (run.args, run.kwargs)
        self.box = _Box()

    def forward(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        """Return the tensors among the outputs."""
        waiting = iter(tensors)
        args, kwargs = mapped(
            self.run, lambda leaf: next(waiting) if isinstance(leaf, torch.Tensor) else leaf
        )
        with changes_refused(self.net), regions_refused():
            self.box.output = self.net(*args, **kwargs)
        leaves = [leaf for _, leaf in leaves_of(self.box.output, "")]
        return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def _graph(run: SeenRun, has_row: HasRow) -> TracedGraph:
    graph = TracedGraph()
    leaves = list(_named_leaves(run))
    tensors = [(text, leaf) for text, leaf in leaves if isinstance(leaf, torch.Tensor)]
    graph.fixed = {
        text: checked_constant(leaf) for text, leaf in leaves if not isinstance(leaf, torch.Tensor)
    }
    called = _Called(run)
    program = _exported(called, [leaf for _, leaf in tensors], has_row)
    texts = iter(text for text, _ in tensors)
    for spec in program.graph_signature.input_specs:
        _read_input(graph, program, called, spec, texts)
    reader = NodeReader(graph)
    for node in program.graph.nodes:
        reader.read(node)
    results = iter(_results(graph, program, reader.output))
    graph.output = mapped(
        called.box.output,
        lambda leaf: next(results) if isinstance(leaf, torch.Tensor) else checked_constant(leaf),
    )
    return graph


def _results(graph: TracedGraph, program: Any, outputs: list[Any]) -> list[Any]:
    """Return what the program returns to its caller; note what it writes into buffers."""
    found = []
    for spec, value in zip(program.graph_signature.output_specs, outputs, strict=True):
        if spec.kind.name == "USER_OUTPUT":
            found.append(value)
        elif spec.kind.name == "BUFFER_MUTATION":
            graph.writes.append((tuple(spec.target.split("."))[1:], value))
        else:
            raise TraceError(f"it writes into {spec.target}")
    return found


def _named_leaves(run: SeenRun) -> Any:
    """Yield the leaves of a call's arguments by the names that `forward` has for them.

    What the call leaves to its default is part of the graph as well, and so are lengths of lists.
    """
    signature = inspect.signature(type(run.module).forward)
    bound = signature.bind(run.module, *run.args, **run.kwargs)
    bound.apply_defaults()
    for name, value in list(bound.arguments.items())[1:]:
        if type(value) in (list, tuple, dict):
            yield f"len({name})", len(value)
        yield from leaves_of(value, name)


def _exported(called: _Called, tensors: list[torch.Tensor], has_row: HasRow) -> Any:
    """Return the exported program: any lengths where torch.export allows, rows for its nodes."""
    auto = torch.export.Dim.AUTO
    axes = tuple(dict.fromkeys(range(tensor.dim()), auto) for tensor in tensors)
    program = torch.export.export(
        called, tuple(tensors), dynamic_shapes=(axes,) if axes else None, strict=False
    )
    regions = detach_regions(program.graph_module)
    for _ in range(4):
        unknown = {node.target for node in _operations(program) if not has_row(str(node.target))}
        writes = any(
            node.target._schema.is_mutable and str(node.target) not in _HARMLESS
            for node in _operations(program)
        )
        table = torch.export.default_decompositions()
        parts = {target: table[target] for target in unknown if target in table}
        if not writes and not parts and not regions:
            break
        program, regions = program.run_decompositions(parts), False
    return program


def _operations(program: Any) -> list[Any]:
    return [
        node
        for node in program.graph.nodes
        if isinstance(node.target, torch._ops.OpOverload) and node.target.namespace == "aten"
    ]


def _read_input(graph: TracedGraph, program: Any, called: _Called, spec: Any, texts: Any) -> None:
    kind, name = spec.kind.name, spec.arg.name
    node = next(node for node in program.graph.nodes if node.name == name)
    value = node.meta.get("val")
    graph.facts[name] = described(value)
    if kind == "USER_INPUT":
        graph.inputs[name] = next(texts)
        graph.shapes[graph.inputs[name]] = axes_of(value)
        return
    path = spec.target.split(".")
    owner = _owner_of(called, path)
    if path[0] == _OWNER and owner is not None:
        base = torch_class_of(type(owner))
        graph.weights[name] = Weight(tuple(path[1:]), names_of(base) if base else ())
        return
    if node.users:
        graph.constants[name] = _constant(program.constants[spec.target])


def _owner_of(called: nn.Module, path: list[str]) -> Any:
    owner: Any = called
    for part in path[:-1]:
        owner = getattr(owner, part, None)
    return owner if hasattr(owner, path[-1]) else None


def _constant(tensor: torch.Tensor) -> MadeTensor:
    if tensor.numel() > _MOST:
        raise TraceError(f"it makes a tensor of {tensor.numel()} numbers from nothing")
    return MadeTensor(tensor.tolist(), str(tensor.dtype).removeprefix("torch."))
