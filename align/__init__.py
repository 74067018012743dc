"""The proof: record the reference, force the port, compare, judge, report."""

from align.backward import align_backward
from align.forward import align_forward
from align.report import Divergence, Report
from align.weights import align_weights

__all__ = ["Divergence", "Report", "align_backward", "align_forward", "align_weights"]
