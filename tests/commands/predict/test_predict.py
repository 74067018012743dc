"""The command `predict` on photos of every kind, videos, and an exported folder alone."""

import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from common.data.transforms.images import Normalisation
from common.evaluation.protocol import predict as by_protocol
from common.settings.run import Evaluate
from tests.nursery import run
from tests.paths import ROOT, TOOLS

pytest.importorskip("torch")
pytest.importorskip("paddle")


def scene(width, height):
    rng = np.random.default_rng(width)
    small = rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    return Image.fromarray(small).resize((width, height))


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """The example's net with seeded weights, and photos of every kind."""
    folder = tmp_path_factory.mktemp("predict") / "mine"
    shutil.copytree(ROOT / "examples" / "own_recipe", folder)
    import paddle

    from commands.subjects.named.config import read_config
    from commands.subjects.named.frameworks import parts_of

    net = parts_of(read_config(folder / "my_net.yml"), "paddle").seeded_net(3)
    paddle.save(net.state_dict(), str(folder / "net.pdparams"))
    photos = folder / "photos"
    (photos / "below").mkdir(parents=True)
    plain = scene(64, 48)
    plain.save(photos / "plain.png")
    plain.convert("L").save(photos / "grey.png")
    with_alpha = plain.copy()
    with_alpha.putalpha(90)
    with_alpha.save(photos / "alpha.png")
    Image.fromarray(np.asarray(plain.convert("L")).astype(np.uint16) * 257).save(
        photos / "deep.png"
    )
    plain.quantize(16).save(photos / "palette.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    plain.save(photos / "turned.jpg", exif=exif)
    Image.new("RGB", (1, 1), (200, 30, 20)).save(photos / "one.png")
    scene(37, 91).save(photos / "below" / "tall.webp")
    (photos / "notes.txt").write_text("hello")
    return folder


def predicted(folder, *arguments, config=("my_net.yml",)):
    given = ("--weights", "net.pdparams", "--engine", "eager") if config else ()
    return run("predict", *config, *arguments, *given, cwd=folder)


def net_of(mine):
    from commands.subjects.named.config import read_config
    from commands.subjects.named.frameworks import parts_of
    from paddle_impl.train import PaddleInference

    return PaddleInference(parts_of(read_config(mine / "my_net.yml"), "paddle").seeded_net(3))


def test_photos_of_every_kind(mine):
    done = predicted(mine, "photos", "--output", "kinds", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [row["path"] for row in result["skipped"]] == ["photos/notes.txt"]
    sizes = {row["path"]: row["size"] for row in result["items"]}
    assert sizes == {
        **{f"photos/{n}.png": [64, 48] for n in ("plain", "grey", "alpha", "deep", "palette")},
        "photos/turned.jpg": [48, 64],
        "photos/one.png": [1, 1],
        "photos/below/tall.webp": [37, 91],
    }
    for row in result["items"]:
        found = Image.open(mine / row["outputs"]["ids"])
        assert (found.mode, list(found.size)) == ("P", row["size"])
        assert list(Image.open(mine / row["outputs"]["overlay"]).size) == row["size"]
        assert sum(row["classes"].values()) == pytest.approx(1, abs=1e-5)
    image = Normalisation()(Image.open(mine / "photos" / "plain.png"))[None]
    expected = by_protocol(net_of(mine), image, Evaluate())[0]
    assert len(np.unique(expected)) > 1
    assert np.array_equal(np.asarray(Image.open(mine / "kinds" / "plain.png")), expected)


def test_a_damaged_photo_is_named_and_the_rest_goes_on(mine):
    folder = mine / "damaged"
    folder.mkdir()
    scene(90, 60).save(folder / "a.jpg")
    shutil.copy(folder / "a.jpg", folder / "c.jpg")
    (folder / "b.jpg").write_bytes((folder / "a.jpg").read_bytes()[:700])
    done = predicted(mine, "damaged", "--output", "rest", "--write", "ids", "--quiet")
    assert done.returncode == 1
    assert "failed: damaged/b.jpg: cannot be read" in done.stderr
    assert done.stdout == "2 predicted in rest, 1 failed\n"
    assert sorted(path.name for path in (mine / "rest").iterdir()) == ["a.png", "c.png"]
    again = predicted(mine, "damaged", "--output", "rest", "--write", "ids")
    assert again.returncode == 2
    assert "--force" in again.stderr
    forced = predicted(mine, "damaged/a.jpg", "--output", "rest", "--write", "ids", "--force")
    assert forced.returncode == 0
    alone = predicted(mine, "damaged/b.jpg", "--output", "alone", "--lang", "zh")
    assert alone.returncode == 2
    assert alone.stdout.splitlines()[-1] == "alone 中已预测 0 个，1 个失败"


def test_windows_scales_and_the_nets_own_size(mine):
    by = {"windows": ("--window", "40x32"), "scales": ("--scales", "0.5,1.5", "--flip")}
    options = {
        "windows": Evaluate(window_hw=(32, 40)),
        "scales": Evaluate(scales=(0.5, 1.5), flip=True),
    }
    image = Normalisation()(Image.open(mine / "photos" / "plain.png"))[None]
    for name, arguments in by.items():
        given = ("photos/plain.png", "--write", "ids", "--output", name, *arguments)
        assert predicted(mine, *given).returncode == 0
        expected = by_protocol(net_of(mine), image, options[name])[0]
        assert np.array_equal(np.asarray(Image.open(mine / name / "plain.png")), expected)
    small = ("--scale", "0.5", "--ids-at", "net", "--write", "ids", "--output", "small")
    assert predicted(mine, "photos/plain.png", *small).returncode == 0
    assert Image.open(mine / "small" / "plain.png").size == (32, 24)


def test_a_video_has_as_many_frames_as_before(mine):
    writer = cv2.VideoWriter(str(mine / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(4):
        writer.write(np.roll(np.asarray(scene(64, 48)), 9 * number, axis=1))
    writer.release()
    done = predicted(mine, "clip.avi", "--output", "video")
    assert done.returncode == 0, done.stderr
    for name in ("clip_ids.mp4", "clip_overlay.mp4"):
        found = cv2.VideoCapture(str(mine / "video" / name))
        assert [found.read()[0] for _ in range(5)] == [True] * 4 + [False]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("photos/notes.txt",), "notes.txt: cannot be read"),
        (("nowhere",), "nowhere: no such photo"),
        (("photos", "model.nmae=x"), "model.nmae"),
        ((), "no photo, folder or video was given"),
        (("photos", "--write", "picture"), "ids,overlay,sheet"),
        (("photos", "--ids-at", "net"), "--write ids"),
    ],
)
def test_what_cannot_be_done_is_one_message(mine, arguments, words):
    done = predicted(mine, *arguments, "--output", "nothing")
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (mine / "nothing").exists()


def test_an_exported_folder_predicts_alone(mine, monkeypatch):
    """Without nets, training and torch; the same classes as the net of the config."""
    monkeypatch.setenv("TORCH2PADDLE_CACHE", str(mine / "cache"))
    from commands.deploy.engine import engine_for
    from commands.subjects.named.config import read_config

    settings = read_config(mine / "my_net.yml")
    engine_for(settings, mine / "net.pdparams", (48, 64), engine="paddle")
    (exported,) = (mine / "cache" / "exports").iterdir()
    given = ["--model", str(exported), "photos/plain.png", "photos/below", "--output", "alone2"]
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]; sys.path[0] = sys.argv[0][:-11]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'torch', 'torch_ref', 'paddle_impl', 'convert', 'align', 'commands.subjects'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    script = str(TOOLS / "predict.py")
    command = [sys.executable, "-c", code, script, *given]
    done = subprocess.run(command, cwd=mine, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
    image = Normalisation()(Image.open(mine / "photos" / "plain.png"))[None]
    expected = by_protocol(net_of(mine), image, Evaluate())[0]
    found = np.asarray(Image.open(mine / "alone2" / "plain.png"))
    assert (found == expected).mean() > 0.999
    assert Image.open(mine / "alone2" / "tall.png").size == (37, 91)
