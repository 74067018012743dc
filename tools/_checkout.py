"""Puts the checkout first on `sys.path`: commands work from any folder, installed or not.

The folder of the commands goes last: who imports a `report` or a `toy` of their own gets it.
"""

import sys
from pathlib import Path

_tools = Path(__file__).resolve().parent
sys.path[:] = [place for place in sys.path if place != str(_tools)]
sys.path.insert(0, str(_tools.parent))
sys.path.append(str(_tools))  # processes that read images import the command anew
