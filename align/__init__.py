"""The proof: record the reference, force the port, compare, judge, report."""

from align.report.report import Divergence, Report
from align.rungs.backward import align_backward
from align.rungs.data import align_data
from align.rungs.force_trace import force_trace
from align.rungs.forward import align_forward
from align.rungs.init import align_init
from align.rungs.judge_trace import judge_trace
from align.rungs.loss import align_loss
from align.rungs.metric import align_metric
from align.rungs.record_trace import record_trace
from align.rungs.training.rung import align_step, align_training
from align.rungs.weights import align_weights

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
