"""A video frame by frame, by OpenCV."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from common.errors import DataError, UserError
from common.files import make_folder, whole_file

CODEC = "mp4v"
FALLBACK_FPS = 25.0  # where a file does not say


@dataclass(frozen=True)
class Video:
    """A file that OpenCV reads: width, height, frames a second, frames that its head says."""

    path: Path
    width: int
    height: int
    fps: float
    frames: int


def open_video(path: Path) -> Video:
    """Return what the head of a video says. Raises DataError where it cannot be read."""
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise DataError(
                f"{path}: cannot be read as a video; OpenCV reads .mp4 and .avi, write it as one"
            )
        width, height, fps, frames = (
            capture.get(key)
            for key in (
                cv2.CAP_PROP_FRAME_WIDTH,
                cv2.CAP_PROP_FRAME_HEIGHT,
                cv2.CAP_PROP_FPS,
                cv2.CAP_PROP_FRAME_COUNT,
            )
        )
    finally:
        capture.release()
    return Video(path, int(width), int(height), fps or FALLBACK_FPS, max(int(frames), 0))


def frames_of(video: Video) -> Iterator[np.ndarray]:
    """Yield every frame, uint8 [H, W, 3] RGB.

    Raises DataError at the end where the file holds fewer than its head says.
    """
    capture = cv2.VideoCapture(str(video.path))
    count = 0
    try:
        while True:
            there, frame = capture.read()
            if not there:
                break
            count += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()
    if count == 0 or count < video.frames:
        raise DataError(
            f"{video.path}: {count} frames could be read, its head says {video.frames}; the file "
            "is truncated or damaged"
        )


@contextmanager
def writing(path: Path, video: Video) -> Iterator[Callable[[np.ndarray], None]]:
    """Give a function that writes frames, uint8 [H, W, 3] RGB, to an .mp4 as long as `video`.

    The encoder takes even sizes: of odd ones the last row or column is repeated. At the end the
    file is read again: it holds as many frames as were written, or UserError is raised.
    """
    size = (video.width + video.width % 2, video.height + video.height % 2)
    make_folder(path.parent)
    with whole_file(path) as draft:
        named = draft.with_name(f"{draft.name}.mp4")  # OpenCV goes by the name's end
        writer = cv2.VideoWriter(str(named), cv2.VideoWriter.fourcc(*CODEC), video.fps, size)
        count = 0

        def write(frame: np.ndarray) -> None:
            nonlocal count
            height, width = frame.shape[:2]
            border = (0, size[1] - height, 0, size[0] - width)
            even = cv2.copyMakeBorder(frame, *border, cv2.BORDER_REPLICATE)
            writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
            count += 1

        try:
            if not writer.isOpened():
                raise UserError(f"{path}: OpenCV here cannot write .mp4 ({CODEC})")
            yield write
            writer.release()
            _require_frames(named, path, count)
            named.replace(draft)
        finally:
            writer.release()
            named.unlink(missing_ok=True)


def _require_frames(written: Path, path: Path, count: int) -> None:
    capture: Any = cv2.VideoCapture(str(written))
    found = 0
    while capture.grab():
        found += 1
    capture.release()
    if found != count:
        raise UserError(
            f"{path}: {count} frames were written, {found} can be read; is there space?"
        )
