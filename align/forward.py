"""The forward rung: the port's every layer and glue against the reference, in one forced pass."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from align.blame import blame
from align.judge import DIFFERS, UNCHECKED, Allowance, Comparison, compare
from align.pairing import Pairing, pair_by_path
from align.report import Report
from align.trace import Place, Trace

# A layer's buffers by their name in torch; what is not listed has the same name on both sides.
BUFFER_NAMES = {"running_mean": "_mean", "running_var": "_variance"}

Inputs = Sequence[np.ndarray] | Mapping[str, np.ndarray]


def align_forward(
    torch_net: Any,
    paddle_net: Any,
    inputs: Inputs,
    *,
    train: bool = False,
    rules: Any = None,
    dtype: str = "float64",
) -> Report:
    """Judge every call of every layer of `paddle_net`, and the code between, against `torch_net`.

    Args:
        torch_net: the reference, any `torch.nn.Module` on the CPU.
        paddle_net: the port, any `paddle.nn.Layer` on the CPU, with the reference's weights.
        inputs: arrays of any shape; a sequence is passed by position, a mapping by keyword.
            Floating arrays are cast to `dtype`.
        train: train mode (batch statistics, dropout with the reference's masks, buffers after
            the pass) instead of eval mode.
        rules: how the reference names what the port names otherwise (`convert.rules`).
        dtype: "float64" for a verdict; "float32" shows the same against float32's own noise.

    Returns:
        A Report. Both nets are as before: weights, buffers, modes, dtypes, random state.

    Raises:
        Whatever the nets themselves raise on these inputs.
    """
    from align.force_paddle import holds_float32_constants, layer_paths, layers_by_path
    from align.prepare_torch import prepared as torch_prepared
    from align.record_torch import module_paths

    pairing = pair_by_path(module_paths(torch_net), layer_paths(paddle_net))
    layers = layers_by_path(paddle_net)
    float32_constants = {
        reference
        for port, reference in pairing.partners.items()
        if holds_float32_constants(layers[port])
    }
    import torch

    report = Report("forward", settings={"train": train, "dtype": dtype, "inputs": _shapes(inputs)})
    args, kwargs = _call_arguments(inputs, dtype)
    with torch_prepared(
        torch_net,
        dtype=getattr(torch, dtype),
        train=train,
        float32_constants=float32_constants,
    ):
        trace = _judge(torch_net, paddle_net, args, kwargs, pairing, report)
    rounded = float32_constants & {call.path for call in trace.calls}
    if rounded:
        report.notes.append(
            f"epsilon and momentum of {len(rounded)} normalisations were rounded to float32 on "
            "the reference too: Paddle's kernels hold them so"
        )
    return blame(report, torch_net, paddle_net, pairing)


def _judge(
    torch_net: Any,
    paddle_net: Any,
    args: tuple,
    kwargs: dict[str, Any],
    pairing: Pairing,
    report: Report,
) -> Trace:
    from align import arrays_paddle, arrays_torch
    from align.force_paddle import ForcedPass, PlainPass, floating_buffers, layers_by_path
    from align.prepare_paddle import prepared as paddle_prepared
    from align.record_torch import record
    from align.trees import map_leaves

    torch_args, torch_kwargs = map_leaves((args, kwargs), arrays_torch.to_tensor)
    trace = record(torch_net, torch_args, torch_kwargs)
    train = report.settings["train"]
    with paddle_prepared(paddle_net, dtype=report.settings["dtype"], train=train):
        paddle_args, paddle_kwargs = map_leaves((args, kwargs), arrays_paddle.to_tensor)
        plain = PlainPass(paddle_net, trace, pairing)
        plain.run(paddle_args, paddle_kwargs)
        judged = pairing.without(set(plain.uneven_groups()))
        report.notes += _uneven_in_words(plain, pairing)
        moves = _Moves(torch_net, trace, torch_args, torch_kwargs, judged, report)

        def keep(comparison: Comparison, place: Place) -> None:
            comparison.cumulative = plain.errors.get(place)
            report.calls.append(comparison)

        forced = ForcedPass(paddle_net, trace, judged, moves.allow, keep)
        forced.run(paddle_args, paddle_kwargs)
        report.calls += _unseen(torch_net, trace, torch_args, torch_kwargs, judged)
        if train:
            buffers = floating_buffers(layers_by_path(paddle_net))
            report.calls += _compare_buffers(trace, buffers, judged, moves)
    if not any(call.where.startswith("output") for call in report.calls):
        nothing = Comparison("", "", "output", "glue", verdict=UNCHECKED)
        nothing.cause = "no layer that both nets call returns a tensor"
        report.calls.append(nothing)
    return trace


class _Moves:
    """What rounding explains at each place, measured on the reference."""

    def __init__(
        self,
        torch_net: Any,
        trace: Trace,
        args: tuple,
        kwargs: dict[str, Any],
        judged: Pairing,
        report: Report,
    ) -> None:
        from align.record_torch import kernel_moves, rounding_moves

        reference = set(judged.reference_group)
        self.rounding = rounding_moves(torch_net, trace, args, kwargs, reference)
        self.kernels = kernel_moves(torch_net, trace, args, kwargs, reference)
        self.unit = float(np.finfo(report.settings["dtype"]).eps)

    def allow(self, place: Place) -> Allowance:
        return Allowance(self.rounding.get(place, 0.0), self.kernels.get(place, 0.0), self.unit)


def _compare_buffers(
    trace: Trace, after: Mapping[str, np.ndarray], judged: Pairing, moves: _Moves
) -> list[Comparison]:
    """Compare what a train-mode pass left in the buffers of matched layers."""
    found = []
    for port, reference in judged.partners.items():
        for name in _local_names(trace.buffers, reference):
            ours = after.get(_join(port, BUFFER_NAMES.get(name, name)))
            full = _join(reference, name)
            local = BUFFER_NAMES.get(name, name)
            into = Comparison(port, f"{reference}#last", f"buffer:{local}", "layer")
            if ours is None:
                into.verdict, into.relative_error = DIFFERS, float("inf")
                into.cause = f"the reference updates {full}, the port has no such buffer"
                found.append(into)
                continue
            allowance = moves.allow(("", 0, f"buffer:{full}"))
            found.append(compare(trace.buffers[full], ours, allowance, into))
    return found


def _uneven_in_words(plain: Any, pairing: Pairing) -> list[str]:
    """Say which matched layers are called another number of times than their partners."""
    uneven = plain.uneven_groups()
    return [
        f"{port} is called {uneven[group][1]} times and {pairing.partners[port]} in the reference "
        f"{uneven[group][0]} times: it is judged as a part of the layer around it"
        for port, group in pairing.port_group.items()
        if group in uneven
    ]


def _unseen(
    torch_net: Any, trace: Trace, args: tuple, kwargs: dict[str, Any], judged: Pairing
) -> list[Comparison]:
    """Return a difference for each layer that the port lost and that nothing else would miss.

    A layer of the reference that is called and not judged (no partner, or another number of
    calls) is judged as a part of the layer around it, where its result reaches anything there.
    Where it does not (an auxiliary head that is not returned), equal outputs prove nothing.
    """
    from align.record_torch import is_seen

    reference = set(judged.reference_group)
    called = {call.path for call in trace.calls}
    found = []
    for path in trace.paths:
        above = _nearest(path, reference)
        lost = path in called and path not in reference and _holds_parameters(trace, path)
        if not lost or _nearest(path, called - reference) or above is None:
            continue
        if is_seen(torch_net, trace, args, kwargs, reference, path):
            continue
        layer = next(port for port, partner in judged.partners.items() if partner == above)
        into = Comparison(layer, f"{path}#0", "calls", "glue", verdict=DIFFERS)
        into.relative_error = float("inf")
        into.cause = f"the reference calls {path} here, the port does not"
        found.append(into)
    return found


def _nearest(path: str, among: set[str]) -> str | None:
    """Return the closest path above `path` that is in `among`."""
    while path:
        path = path.rpartition(".")[0]
        if path in among:
            return path
    return None


def _holds_parameters(trace: Trace, path: str) -> bool:
    return any(name.startswith(f"{path}.") for name in trace.parameters)


def _call_arguments(inputs: Inputs, dtype: str) -> tuple[tuple, dict[str, Any]]:
    def cast(array: np.ndarray) -> np.ndarray:
        array = np.asarray(array)
        return array.astype(dtype) if array.dtype.kind == "f" else array

    if isinstance(inputs, Mapping):
        return (), {name: cast(array) for name, array in inputs.items()}
    if isinstance(inputs, np.ndarray):
        return (cast(inputs),), {}
    return tuple(cast(array) for array in inputs), {}


def _shapes(inputs: Inputs) -> dict[str, list[int]]:
    args, kwargs = _call_arguments(inputs, "float64")
    named = {**{str(i): array for i, array in enumerate(args)}, **kwargs}
    return {name: list(array.shape) for name, array in named.items()}


def _local_names(buffers: Mapping[str, np.ndarray], path: str) -> list[str]:
    return [name.rpartition(".")[2] for name in buffers if name.rpartition(".")[0] == path]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
