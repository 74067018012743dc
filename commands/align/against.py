"""A port judged against an ONNX graph, and a graph as a third witness."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from align.judge.words import Words
from commands.align import nets
from commands.align.run import align_each
from common.errors import ConversionError, UserError

if TYPE_CHECKING:
    from align import Report
    from align.witness.graph import Graph


def require_graph(model: str) -> None:
    """Raise what `read_graph` does of a file that nobody may ask: a witness is asked at the end.

    Where both nets agree it is asked of nothing, and a file that is no graph would go unseen.
    """
    from align.rungs.witness.third import EXPORT
    from align.witness.graph import read_graph

    if model != EXPORT:
        read_graph(model, "--third")


def align_with_third(
    model: str, torch_net: Any, paddle_net: Any, given: Any, how: Mapping[str, Any]
) -> "Report":
    """Align two nets, and ask a graph of the reference where they differ."""
    from align import align_forward
    from align.rungs.witness.third import add_third, keeping_what_differs

    with keeping_what_differs() as kept:
        report = align_forward(torch_net, paddle_net, given, **how)
    add_third(report, kept, torch_net, paddle_net, given, model, rules=how["rules"])
    return report


def align_port(options: Any) -> int:
    """Align the port that the options name with a graph; torch is not loaded."""
    file = options.against

    def align(*_: Any) -> "Report":
        from align import align_against
        from align.witness.graph import read_graph

        graph = read_graph(file)
        port = _port(options)
        notes, keys = _fill(options, port, graph)
        given = _inputs(options, port, graph)
        report = align_against(port, graph, given, rules=options.rules, keys=keys)
        report.notes += notes
        return report

    options.model = options.paddle or options.model
    return align_each(options, "against", f"forward, eval mode, against {file}", align, pair=False)


def _port(options: Any) -> Any:
    if options.paddle:
        from commands.subjects.callables_paddle import build_paddle
        from commands.subjects.inputs import options_of

        return build_paddle(options.paddle, options_of(options.paddle_args, "--paddle-args"))
    import paddle_impl

    return paddle_impl.build_model(options.model)


def _fill(options: Any, port: Any, graph: "Graph") -> tuple[list[str], Iterable[str]]:
    """Give the port its weights: of --weights, else those that the graph has kept by name.

    Returns notes, and the names of the exported net's tensors, as far as they are known.
    """
    from convert import read_checkpoint

    if options.weights:
        checkpoint = read_checkpoint(options.weights)
        _load(port, dict(checkpoint.items()), options.rules)
        checkpoint.require_unchanged()
        return [], checkpoint
    arrays = {name: array for name, array in graph.arrays().items() if _is_named(name)}
    try:
        _load(port, arrays, options.rules)
    except ConversionError as error:
        if not options.paddle:
            raise UserError(
                f"{graph.path}: does not hold all weights by their names, as graphs with folded "
                "BatchNorms do not: give them by --weights"
            ) from None
        why = next((line for line in str(error).splitlines() if line.strip()), "").rstrip(":")
        return [Words("against_weights_of_port", file=graph.path, why=why)], arrays
    return [Words("against_weights_of_graph", count=len(arrays), file=graph.path)], arrays


def _is_named(name: str) -> bool:
    """Tell whether a tensor of a graph may have the name that it has in the net."""
    return not name.isdigit() and "::" not in name and "/" not in name


def _load(port: Any, arrays: Mapping[str, np.ndarray], rules: Any) -> None:
    from align.pairing.fill import load_state
    from convert import convert_state
    from convert.names.rules import load_rules

    read = None if rules is None else load_rules(rules)
    made = convert_state(arrays, port, read, cast=True)
    load_state(port, {k: np.asarray(a, order="C") for k, a in made.state.items()}, rules)


def _inputs(options: Any, port: Any, graph: "Graph") -> Any:
    """Return the inputs of the options, else seeded ones of the sizes that the graph fixes."""
    from commands.subjects.inputs import seeded_inputs

    if options.inputs:
        if options.input_shape or len(options.inputs) > 1:
            raise UserError("give one file of --inputs, or --input-shape")
        return nets.batches(options, None, port, labelled=False)[0]
    if options.input_shape:
        return seeded_inputs(options.input_shape, options.seed)
    free = [given for given in graph.inputs if min(given.shape, default=1) < 1]
    whole = [given for given in graph.inputs if not given.dtype.startswith("float")]
    if free or whole:
        name = (free or whole)[0].name
        raise UserError(
            f"{Path(options.against)}: its input {name} has no fixed shape of floats: give "
            "--input-shape, or --inputs FILE.npz"
        )
    return seeded_inputs([given.shape for given in graph.inputs], options.seed)
