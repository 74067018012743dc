"""Checkpoints of PyTorch nets into Paddle's, every tensor accounted for.

Importing it loads neither torch nor paddle: only the files named after a framework do, on call.
"""

from common.errors import ConversionError
from convert.conversion import Conversion, convert_state
from convert.file import convert_checkpoint
from convert.formats.checkpoint import Checkpoint, read_checkpoint

__all__ = [
    "Checkpoint",
    "Conversion",
    "ConversionError",
    "convert_checkpoint",
    "convert_state",
    "read_checkpoint",
]
