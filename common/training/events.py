"""Where curves and pictures of a run go: TensorBoard's files, and VisualDL's."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from common.errors import UserError
from common.settings.run import Log


class EventWriter(Protocol):
    """A file that a viewer reads while it grows."""

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Add a point to a curve."""
        ...

    def picture(self, tag: str, image: np.ndarray, step: int) -> None:
        """Add a picture, uint8 [H, W, 3] RGB."""
        ...

    def flush(self) -> None:
        """Let viewers see what there is."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


class TensorBoard:
    """Events for TensorBoard. Of a resumed run, `start` hides what came later before."""

    def __init__(self, folder: Path, start: int) -> None:
        # tensorboardX imports torch where it finds it; nothing of what is used here needs it.
        hidden = "torch" not in sys.modules
        if hidden:
            sys.modules["torch"] = None  # type: ignore[assignment]  # None forbids the import
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise _absent("tensorboard", "tensorboardX") from None
        finally:
            if hidden:
                del sys.modules["torch"]
        self._writer: Any = SummaryWriter(
            logdir=str(folder / "tensorboard"),
            purge_step=start + 1 if start else None,
            filename_suffix=f".from_{start:08d}",  # of one second there may be two
        )

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Add a point to a curve."""
        self._writer.add_scalar(tag, value, step)

    def picture(self, tag: str, image: np.ndarray, step: int) -> None:
        """Add a picture, uint8 [H, W, 3] RGB."""
        self._writer.add_image(tag, image, step, dataformats="HWC")

    def flush(self) -> None:
        """Let viewers see what there is."""
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


class VisualDL:
    """Records for VisualDL, which cannot hide any: a resumed run begins a folder of its own."""

    def __init__(self, folder: Path, start: int) -> None:
        try:
            from visualdl import LogWriter
        except ImportError:
            raise _absent("visualdl", "VisualDL") from None
        place = folder / "visualdl"
        place = place / f"from_{start}" if start else place
        self._writer: Any = LogWriter(logdir=str(place))

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Add a point to a curve."""
        self._writer.add_scalar(tag=tag, value=value, step=step)

    def picture(self, tag: str, image: np.ndarray, step: int) -> None:
        """Add a picture, uint8 [H, W, 3] RGB."""
        self._writer.add_image(tag=tag, img=image, step=step)

    def flush(self) -> None:
        """Let viewers see what there is."""
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


WRITERS: dict[str, Callable[[Path, int], EventWriter]] = {
    "tensorboard": TensorBoard,
    "visualdl": VisualDL,
}


class Events:
    """All writers that `log` of a config asks for.

    Points that are not finite, such as the IoU of a class that occurs nowhere, are left out: there
    is nothing to draw, and the writers would warn of each.
    Raises UserError where a writer is not installed.
    """

    def __init__(self, folder: Path, start: int, log: Log) -> None:
        self._writers: list[EventWriter] = [
            make(folder, start) for name, make in WRITERS.items() if getattr(log, name)
        ]

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Add a point to a curve, where it is finite."""
        if math.isfinite(value):
            for writer in self._writers:
                writer.scalar(tag, value, step)

    def picture(self, tag: str, image: np.ndarray, step: int) -> None:
        """Add a picture, uint8 [H, W, 3] RGB."""
        for writer in self._writers:
            writer.picture(tag, image, step)

    def flush(self) -> None:
        """Let viewers see what there is."""
        for writer in self._writers:
            writer.flush()

    def close(self) -> None:
        """Finish the files."""
        for writer in self._writers:
            writer.close()


def _absent(key: str, package: str) -> UserError:
    return UserError(
        f"log.{key} is true, and {package} is not installed: pip install {package.lower()}, or "
        f"set log.{key}=false"
    )
