"""Turns comparisons that differ into divergences: source lines of both sides, and causes."""

from typing import Any

from align.judge import DIFFERS, Comparison
from align.pairing import Pairing
from align.report import Divergence, Report


def blame(report: Report, torch_net: Any, paddle_net: Any, pairing: Pairing) -> Report:
    """Fill `report.divergences` from `report.calls`; return the report.

    A layer whose output differs and that has another static attribute or another weight than its
    partner gets that as the cause.
    """
    from align.calls import source_of
    from align.force_paddle import layers_by_path

    wrong = [call for call in report.calls if call.verdict == DIFFERS]
    causes = _causes(torch_net, paddle_net, {call.layer for call in wrong}) if wrong else {}
    layers = layers_by_path(paddle_net)
    partners = pairing.partners
    for call in wrong:
        if call.cause is None and call.kind == "layer":
            call.cause = causes.get(call.layer)
        partner = partners.get(call.layer)
        report.divergences.append(
            Divergence(
                layer=call.layer,
                where=call.where,
                relative_error=call.relative_error,
                floor=call.floor,
                worst_index=call.worst_index,
                cause=call.cause,
                call=call.call,
                torch_source=None
                if partner is None
                else source_of(torch_net.get_submodule(partner)),
                paddle_source=source_of(layers[call.layer]) if call.layer in layers else None,
            )
        )
    return report


def _causes(torch_net: Any, paddle_net: Any, layers: set[str]) -> dict[str, str]:
    """Return {layer: what the weights rung says of it}, attributes first."""
    from align.weights import compare_weights

    found: dict[str, str] = {}
    for call in reversed(compare_weights(torch_net, paddle_net)):
        if call.verdict == DIFFERS and call.layer in layers and call.cause:
            found[call.layer] = call.cause if call.where.startswith("attr") else _weight(call)
    return found


def _weight(call: Comparison) -> str:
    name = call.where.partition(":")[2]
    return f"its {name} differs by {call.relative_error:.2g}: {call.cause}"
