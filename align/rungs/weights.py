"""The weights rung: every tensor and every static attribute of the two live nets."""

from typing import Any

from align.pairing.by_path import Pairing
from align.pairing.static import compare_weights
from align.report.report import Report
from align.trial.setup import paired


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

    reference = LiveReference(torch_net)
    pairing = paired(reference, paddle_net, rules)
    report = Report("weights", calls=compare_weights(reference, paddle_net, pairing))
    report.notes = _excused(pairing)
    return blame(report, reference, paddle_net, pairing)


def _excused(pairing: Pairing) -> list[str]:
    """Say which tensors have no partner by the rules."""
    left_out = [f"{key} of the reference: {reason}" for key, reason in pairing.dropped.items()]
    own = [f"{key} of the port: {reason}" for key, reason in pairing.absent.items()]
    return [f"not compared, as the rules say: {words}" for words in left_out + own]
