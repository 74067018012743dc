"""The weights rung: every tensor and every static attribute of the two live nets."""

from typing import Any

from align.judge.words import Words
from align.pairing.by_path import Pairing
from align.pairing.pair_nets import pair_nets
from align.report.report import Report


def align_weights(torch_net: Any, paddle_net: Any, *, rules: Any = None) -> Report:
    """Compare two live nets as they are: tensors exactly, static attributes in torch's meaning.

    Args:
        torch_net: any `torch.nn.Module`.
        paddle_net: any `paddle.nn.Layer`, after conversion.
        rules: how the reference names what the port names otherwise (`convert.names.rules`).

    Returns:
        A Report. `where` is weight:name, buffer:name or attribute:name; a parameter that one side
        has and the other has not is a divergence of the layer that should hold it.

    Raises:
        ConfigError: `rules` is no rules file, or a damaged one.
    """
    from align.causes.blame import blame
    from align.pairing.reference_torch import LiveReference

    sides = pair_nets(LiveReference(torch_net), paddle_net, rules)
    report = Report("weights", calls=sides.at_rest.compare_weights())
    report.notes += _excused(sides.pairing)
    return blame(report, sides)


def _excused(pairing: Pairing) -> list[Words]:
    """Say which tensors have no partner by the rules."""
    sides = (("excused_reference", pairing.dropped), ("excused_port", pairing.absent))
    return [
        Words(kind, name=key, reason=reason)
        for kind, excused in sides
        for key, reason in excused.items()
    ]
