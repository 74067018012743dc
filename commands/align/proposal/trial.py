"""Tries proposed rules: the port is filled by them and the forward pass aligned."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from align.arrays.batch import Inputs
from align.judge.words import printed
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from align.report.report import Report
from commands.align.errors import errors_of_nets
from common.errors import ConversionError, UserError
from common.words.language import phrase
from convert.names.rules import Rules


@dataclass
class RulesTrial:
    """What came of one set of rules: the reports of each mode, or why there is none."""

    reports: Sequence[Report] = ()
    failure: str = ""

    @property
    def is_aligned(self) -> bool:
        """Whether everything was checked in every mode, and nothing differs."""
        return bool(self.reports) and all(report.aligned for report in self.reports)

    @property
    def places(self) -> int:
        """How many places differ."""
        return sum(len(report.divergences) for report in self.reports)

    def told(self) -> str:
        """Say where the pass first differs, or why nothing was tried."""
        if self.failure:
            return self.failure
        worse = next(report for report in self.reports if not report.aligned)
        found = worse.divergences
        if not found:
            return printed(worse.verdict)
        return phrase(
            "{count} differ, first: {what}", count=len(found), what=printed(found[0].words)
        )


def run_trial(
    torch_net: Any, paddle_net: Any, rules: Rules, inputs: Inputs, modes: Sequence[bool]
) -> RulesTrial:
    """Fill the port and align the forward pass, in each of `modes` (True: train mode)."""
    from align import align_forward

    try:
        fill_port(LiveReference(torch_net), paddle_net, rules)
        with errors_of_nets("the port"):
            reports = [
                align_forward(torch_net, paddle_net, inputs, train=train, rules=rules)
                for train in modes
            ]
    except (ConversionError, UserError) as error:
        return RulesTrial(failure=str(error))
    return RulesTrial(reports)
