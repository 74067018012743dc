"""Puts the checkout first on `sys.path`: commands work from any folder, installed or not."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
