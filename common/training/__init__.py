"""Training without a framework: the loop, checkpoints, logs, reading ahead, the screen.

What needs a framework is a `Side`: `torch_ref.train` and `paddle_impl.train` hold one each.
"""

from common.evaluation.side import Batches, Side
from common.training.loop import Diverged, Outcome, train
from common.training.reporter import Reporter
from common.training.resume import CheckpointError, ResumePoint

__all__ = [
    "Batches",
    "CheckpointError",
    "Diverged",
    "Outcome",
    "Reporter",
    "ResumePoint",
    "Side",
    "train",
]
