"""Puts the checkout first on `sys.path`: commands work from any folder, installed or not.

The folder of the commands goes last: who imports a `report` or a `toy` of their own gets it.
Ctrl-C while all the rest is imported ends the process at once, without a traceback.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType


def interrupted(number: int, frame: FrameType | None) -> None:
    """End the process: nothing has begun."""
    os._exit(128 + number)


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, interrupted)

_tools = Path(__file__).resolve().parent
sys.path[:] = [place for place in sys.path if place != str(_tools)]
sys.path.insert(0, str(_tools.parent))
sys.path.append(str(_tools))  # processes that read images import the command anew
