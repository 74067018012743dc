"""Checkpoints of PyTorch nets into Paddle's, every tensor accounted for.

Importing it loads neither torch nor paddle: only the files named after a framework do, on call.
"""

from common.errors import ConversionError
from convert.conversion import Conversion, convert_state

__all__ = ["Conversion", "ConversionError", "convert_state"]
