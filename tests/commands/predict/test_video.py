"""Videos: as many frames out as in, of any size, and damage by name."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from commands.predict.video import frames_of, open_video, writing
from common.errors import DataError


def write_clip(path, size=(32, 20), frames=5, codec="MJPG"):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 12, size)
    for number in range(frames):
        writer.write(np.full((size[1], size[0], 3), 40 * number % 200, np.uint8))
    writer.release()
    return path


def test_a_copy_has_the_same_frames(tmp_path):
    video = open_video(write_clip(tmp_path / "in.avi"))
    assert (video.width, video.height, video.frames) == (32, 20, 5)
    assert video.fps == pytest.approx(12)
    odd = replace(video, width=33, height=21)
    with writing(tmp_path / "out" / "copy.mp4", odd) as write:
        for frame in frames_of(video):
            assert frame.shape == (20, 32, 3)
            write(np.pad(frame, [(0, 1), (0, 1), (0, 0)], mode="edge"))
    copy = open_video(tmp_path / "out" / "copy.mp4")
    assert (copy.width, copy.height, copy.frames) == (34, 22, 5)  # the encoder takes even sizes
    values = [frame[:20, :32].mean() for frame in frames_of(copy)]
    assert values == pytest.approx([0, 40, 80, 120, 160], abs=8)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["copy.mp4"]


def test_a_video_that_is_cut_off_is_named(tmp_path):
    whole = write_clip(tmp_path / "in.avi", frames=30)
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(DataError, match=r"cut\.avi"):
        list(frames_of(open_video(cut)))
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(DataError, match=r"text\.mp4: cannot be read as a video"):
        open_video(tmp_path / "text.mp4")


def test_what_fails_leaves_no_file(tmp_path):
    video = open_video(write_clip(tmp_path / "in.avi"))

    def write_one():
        with writing(tmp_path / "out.mp4", video) as write:
            write(np.zeros((20, 32, 3), np.uint8))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_one()
    assert [path.name for path in tmp_path.iterdir()] == ["in.avi"]
