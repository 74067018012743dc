"""The proof: record the reference, force the port, compare, judge, report."""

from align.backward import align_backward
from align.data import align_data, align_metric
from align.force_trace import force_trace
from align.forward import align_forward
from align.init import align_init
from align.judge_trace import judge_trace
from align.losses import align_loss
from align.report import Divergence, Report
from align.traces import record_trace
from align.training import align_step, align_training
from align.weights import align_weights

__all__ = [
    "Divergence",
    "Report",
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
