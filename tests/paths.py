"""Where things lie that tests read."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIGS, TOOLS = ROOT / "configs", ROOT / "tools"
MANIFESTS = ROOT / "tests" / "manifests"  # names and shapes of other people's checkpoints
TOOL_NAMES = sorted(path.stem for path in TOOLS.glob("*.py") if path.stem[0] != "_")
