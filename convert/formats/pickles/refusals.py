"""What a pickle that cannot be read is said to the user."""

from pathlib import Path
from typing import Any

from common.errors import UnreadableError
from convert.formats.pickles.globals import RefusedError
from convert.formats.stored import DamagedError


class refusals:
    """Turns what the machine finds into one message to the user."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, RefusedError):
            raise UnreadableError(_refusal(self._path, error.name[:200])) from None
        if isinstance(error, DamagedError):
            raise UnreadableError(
                f"{self._path}: cannot be read: {error}; download or save it again"
            ) from None


def _refusal(path: Path, name: str) -> str:
    """Word which global is asked for, and the two lines that make a file that can be read."""
    head = f"{path}: reading it would run code: it asks for {name}. Nothing was run. "
    load = f"    checkpoint = torch.load({path.name!r}, weights_only=False)  # runs that code\n"
    keep = "    torch.save(checkpoint['state_dict'], 'weights.pth')  # a whole net: .state_dict()"
    if name.startswith(("torch.nn.", "torchvision.models.")):
        head += "It holds a whole net instead of its weights. "
        keep = "    torch.save(checkpoint.state_dict(), 'weights.pth')  # or checkpoint['model']"
    return f"{head}If you trust its source, save the weights alone, in PyTorch:\n{load}{keep}"
