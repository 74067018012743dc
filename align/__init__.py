"""The proof: record the reference, force the port, compare, judge, report.

Its names load when they are first used: a command's outer process (commands/guard.py) needs none.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from align.report.report import Divergence, Report
    from align.rungs.backward import align_backward
    from align.rungs.data import align_data
    from align.rungs.force_trace import force_trace
    from align.rungs.forward import align_forward
    from align.rungs.init import align_init
    from align.rungs.judge_trace import judge_trace
    from align.rungs.loss import align_loss
    from align.rungs.metric.rung import align_metric
    from align.rungs.record_trace import record_trace
    from align.rungs.training.rung import align_step, align_training
    from align.rungs.weights import align_weights
    from align.rungs.witness.against import align_against

__all__ = [
    "Divergence",
    "Report",
    "align_against",
    "align_backward",
    "align_data",
    "align_forward",
    "align_init",
    "align_loss",
    "align_metric",
    "align_step",
    "align_training",
    "align_weights",
    "force_trace",
    "judge_trace",
    "record_trace",
]

_HOMES = {
    "Divergence": "align.report.report",
    "Report": "align.report.report",
    "align_against": "align.rungs.witness.against",
    "align_backward": "align.rungs.backward",
    "align_data": "align.rungs.data",
    "align_forward": "align.rungs.forward",
    "align_init": "align.rungs.init",
    "align_loss": "align.rungs.loss",
    "align_metric": "align.rungs.metric.rung",
    "align_step": "align.rungs.training.rung",
    "align_training": "align.rungs.training.rung",
    "align_weights": "align.rungs.weights",
    "force_trace": "align.rungs.force_trace",
    "judge_trace": "align.rungs.judge_trace",
    "record_trace": "align.rungs.record_trace",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'align' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
