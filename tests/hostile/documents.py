"""Reports, settings, logs and lists of segments: JSON that lies, swells or is none."""

import json

import numpy as np
from PIL import Image

from common.data.toy import write_toy_cityscapes
from tests.align.report.reports import ladder, small
from tests.hostile.case import ANY, REFUSED, SPECIAL, Case
from tests.hostile.damage import ESCAPES, damaged_json, no_json, no_yaml
from tests.paths import CONFIGS


def reports(folder):
    """Yield reports of alignments that lie."""
    base = folder / "reports"
    base.mkdir()
    command = ("report", "x.json", "-o", "x.html")
    for name, run in (("one", small("stem")), ("run", ladder())):
        document = json.loads(json.dumps(_plain(run.to_dict())))
        for words, data in damaged_json(document, 40, seed=len(name)).items():
            yield Case(
                f"report {name}: {words}", command, {"x.json": data}, ANY, base, (), ("x.html",)
            )
    for kind, made in SPECIAL.items():
        yield Case(f"report: {kind}", command, {"x.json": made}, base=base)


def _plain(value):
    from common.documents import plain

    return plain(value)


def segments(folder):
    """Yield panopticapi's files that lie, and PNGs of segments that are none."""
    base = folder / "segments"
    rng = np.random.default_rng(0)
    rows = {"truth": [], "found": []}
    for side in rows:
        (base / side).mkdir(parents=True)
        for number in range(2):
            ids = np.zeros((16, 24, 3), np.uint8)
            ids[:8, :, 0], ids[8:, :, 0] = 1, 2
            ids[4:6, :9, 0] = rng.integers(1, 3)
            Image.fromarray(ids).save(base / side / f"{number}.png")
            held = [int((ids[..., 0] == k).sum()) for k in (1, 2)]
            info = [{"id": k, "category_id": k, "area": held[k - 1], "iscrowd": 0} for k in (1, 2)]
            rows[side].append(
                {"image_id": number, "file_name": f"{number}.png", "segments_info": info}
            )
    categories = [{"id": k, "name": f"c{k}", "isthing": k - 1} for k in (1, 2)]
    documents = {
        "truth.json": {"annotations": rows["truth"], "categories": categories},
        "found.json": {"annotations": rows["found"]},
    }
    for name, document in documents.items():
        (base / name).write_text(json.dumps(document))
    command = ("panoptic_quality", "truth.json", "found.json", "--workers", "0")
    for name, document in documents.items():
        for words, data in damaged_json(document, 30, seed=len(name)).items():
            yield Case(f"segments {name}: {words}", command, {name: data}, ANY, base)
    for kind, made in SPECIAL.items():
        for name in ("truth.json", "found/0.png"):
            yield Case(f"segments {name}: {kind}", command, {name: made}, base=base)


def logs(folder):
    """Yield logs of trainings, and the settings beside them, that lie."""
    base = folder / "logs"
    rows = [{"iteration": n, "loss": 2.0 / n, "lr": 0.01} for n in range(1, 9)]
    rows.append({"iteration": 8, "mean_iou": 0.4, "iou": {"road": 0.5}})
    good = "".join(json.dumps(row) + "\n" for row in rows)
    settings = {"name": "a", "seed": 1, "train": {"iterations": 8}, "data": {"root": "x"}}
    for run in ("a", "b"):
        (base / run).mkdir(parents=True)
        (base / run / "log.jsonl").write_text(good)
        (base / run / "settings.json").write_text(json.dumps(settings))
    command = ("compare_runs", "a", "b", "--tolerance", "0.1")
    for words, line in damaged_json(rows[2], 25).items():
        data = good.encode() + line + b"\n" + good.splitlines()[3].encode() + b"\n"
        yield Case(f"log: {words}", command, {"a/log.jsonl": data}, ANY, base)
    odd = {
        "far iterations": b'{"iteration": 1000000000000000000000000, "loss": 1, "lr": 1}\n',
        "digits": b'{"iteration": 1, "loss": ' + b"9" * 400 + b', "lr": 1}\n',
        "PaddleSeg": b"[TRAIN] epoch: 1, iter: %s, loss: 1e999999, lr: x" % (b"9" * 5000),
        "PaddleSeg, slow": b"[TRAIN]" * 20_000 + b" iter: 1",
        "escapes": json.dumps({"iteration": 1, "loss": 1, "lr": 1, ESCAPES: ESCAPES}).encode(),
    }
    for words, data in odd.items():
        yield Case(f"log: {words}", command, {"a/log.jsonl": good.encode() + data}, ANY, base)
    for words, data in damaged_json(settings, 10).items():
        yield Case(f"log's settings: {words}", command, {"a/settings.json": data}, ANY, base)
    for kind, made in SPECIAL.items():
        yield Case(f"log: {kind}", command, {"a/log.jsonl": made}, base=base)
        yield Case(f"log's settings: {kind}", command, {"a/settings.json": made}, ANY, base)


CONFIG = {
    "_base_": str(CONFIGS / "stdc1_toy.yml"),
    "name": "x",
    "seed": 1,
    "data": {"root": "toy", "crop_hw": [32, 64], "batch_size": 2, "cards": 1, "workers": 0},
    "train": {"iterations": 2, "log_interval": 1},
    "schedule": {"base_lr": 0.01, "warmup_steps": 1},
    "optimizer": {"weight_decay": 0.0005},
}


def configs(folder):
    """Yield configs that swell, lie or are none, to a command that reads their data."""
    base = folder / "configs"
    base.mkdir()
    write_toy_cityscapes(base / "toy", train=2, val=1, size_hw=(64, 128))
    command = ("look_at_data", "x.yml")
    found = {**no_yaml(), **no_json(), **damaged_json(CONFIG, 60)}
    for words, data in found.items():
        yield Case(f"config: {words}", command, {"x.yml": data}, ANY, base)
    bases = {
        "itself": b"_base_: x.yml\n",
        "a folder": b"_base_: /\n",
        "a device": b"_base_: /dev/zero\n",
        "no path": b"_base_: [[a]]\n",
        "zero byte": b'_base_: "a\\0b"\n',
        "long": b"_base_: " + b"a" * 5000 + b"\n",
        "many": b"_base_: [" + b"y.yml, " * 2000 + b"]\n",
        "half a letter": b'_base_: "\\ud800"\n',
    }
    for words, data in bases.items():
        files = {"x.yml": data, "y.yml": b"name: y\n"}
        yield Case(f"config's base: {words}", command, files, ANY, base)
    chain = {f"c{i}.yml": f"_base_: [c{i + 1}.yml, c{i + 1}.yml]\n".encode() for i in range(40)}
    files = {**chain, "c40.yml": b"name: y\n", "x.yml": b"_base_: c0.yml\n"}
    yield Case("config's base: doubled", command, files, ANY, base)
    for kind, made in SPECIAL.items():
        yield Case(f"config: {kind}", command, {"x.yml": made}, ANY, base)
    overrides = (
        "train.iterations=" + "9" * 5000,
        "data.root=\x1b[31m",
        "a" * 4000 + "=1",
        "=",
        "a.b",
    )
    overrides += ("data.crop_hw=[1e400,2]", "name=" + "[" * 3000, "seed=.inf", "data=&a [*a]")
    for words in overrides:
        yield Case(
            f"override: {words!r:.40}",
            (*command, words),
            {"x.yml": json.dumps(CONFIG).encode()},
            ANY,
            base,
        )


def deployments(folder):
    """Yield descriptions of exported nets that lie."""
    from export.deployment import Deployment

    base = folder / "deployments"
    base.mkdir()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(base / "a.png")
    values = Deployment("x", "model.json", "model.pdiparams", class_names=("a", "b"))
    document = json.loads(json.dumps(_plain(values.to_dict())))
    command = ("predict", "--model", ".", "a.png", "--output", "out")
    for words, data in {**damaged_json(document, 40), **no_yaml()}.items():
        yield Case(f"deployment: {words}", command, {"deploy.yaml": data}, REFUSED, base)
    for kind, made in SPECIAL.items():
        if kind != "folder":
            yield Case(f"deployment: {kind}", command, {"deploy.yaml": made}, REFUSED, base)
