"""A folder of photos of Cityscapes' size through `tools/predict.py`, against the net alone.

STDC1-Seg at 512x1024, ids written at that size. Decoding, the net and writing overlap: the whole
may take 1.5 times what the exported net takes for as many images by itself. Both take turns in
rounds, so that a busy machine hits both alike. What the pictures add, at the photos' size, is a
part of the last round.

    python benchmarks/predict.py                  # some minutes
    python benchmarks/predict.py --photos 20 --kind png --json
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# ruff: noqa: E402 - the checkout is on the path only now
from commands.subjects.named.config import read_config
from common.data.toy.render import render
from export.engine import Engine

CONFIG, SEEN_HW, PHOTO_HW = ROOT / "configs" / "stdc1.yml", (512, 1024), (1024, 2048)
MOST = 1.5  # the whole, in units of the net alone
DRAWN = 5  # pictures that differ; the others are copies
JPEG = 95  # quality
NET_SIZE = ("--scale", "0.5", "--write", "ids", "--ids-at", "net")
PICTURES = ("--scale", "0.5", "--write", "ids,overlay,sheet")


def main() -> int:
    """Print what the whole and its parts take; exit 1 where it is more than is asked for."""
    args = _parse()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        weights = _weights(Path(folder))
        photos = _photos(Path(folder), args)
        engine = _engine(weights, args.threads)
        alone, found = 0.0, []
        for number in range(args.rounds):
            part = photos[number :: args.rounds]
            alone += _alone(engine, len(part))
            found.append(_predicted(weights, part, NET_SIZE, args.threads))
        pictures = _predicted(weights, part, PICTURES, args.threads)
    result = _result(args, alone, found, pictures | {"photos": len(part)})
    print(json.dumps(result, indent=2) if args.json else _told(result))
    return 0 if result["good"] else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=200, metavar="N", help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--kind", choices=("jpg", "png"), default="jpg", help="(%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="(%(default)s)")
    parser.add_argument("--folder", help="where the photos go (default: the temporary folder)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if not 1 <= args.rounds <= args.photos:
        parser.error(f"{args.rounds} rounds of {args.photos} photos: expected 1 photo a round")
    return args


def _weights(folder: Path) -> Path:
    """Write the net of the config as it is initialised; return the file."""
    import paddle

    from commands.subjects.named.frameworks import parts_of

    path = folder / "net.pdparams"
    paddle.save(parts_of(read_config(CONFIG), "paddle").seeded_net(0).state_dict(), str(path))
    return path


def _photos(folder: Path, args: argparse.Namespace) -> list[Path]:
    """Write so many street scenes of Cityscapes' size; return the files."""
    from PIL import Image

    options: dict[str, Any] = {"quality": JPEG} if args.kind == "jpg" else {"compress_level": 4}
    paths = [folder / "photos" / f"{number:04}.{args.kind}" for number in range(args.photos)]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths[:DRAWN]):
        Image.fromarray(render(0, "val", number, PHOTO_HW).image).save(path, **options)
    for number, path in enumerate(paths[DRAWN:]):
        shutil.copy(paths[number % DRAWN], path)
    return paths


def _engine(weights: Path, threads: int) -> Engine:
    """Return the exported net that `predict` will take, which is made now."""
    from commands.deploy.engine import engine_for

    engine_for(read_config(CONFIG), weights, SEEN_HW, output="logits", threads=threads)
    return engine_for(read_config(CONFIG), weights, SEEN_HW, output="argmax", threads=threads)


def _alone(engine: Engine, count: int) -> float:
    """Return the seconds that the net takes for so many images, and nothing else."""
    image = np.random.default_rng(0).standard_normal((1, 3, *SEEN_HW), dtype=np.float32)
    engine.run(image)
    begin = time.perf_counter()
    for _ in range(count):
        engine.run(image)
    return time.perf_counter() - begin


def _predicted(
    weights: Path, photos: list[Path], how: tuple[str, ...], threads: int
) -> dict[str, Any]:
    """Return the seconds of `tools/predict.py`, by part, and those of its process."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=weights.parent) as output:
        given = [str(CONFIG), *map(str, photos), "--weights", str(weights), *how, "--json"]
        given += ["--output", output, "--threads", str(threads), "--quiet"]
        command = [sys.executable, str(ROOT / "tools" / "predict.py"), *given]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    told = json.loads(done.stdout)
    return told["seconds"] | {"process": time.perf_counter() - begin, "runs": told["runs"]}


def _result(
    args: argparse.Namespace, alone: float, found: list[dict[str, Any]], pictures: dict[str, Any]
) -> dict[str, Any]:
    names = [name for name, value in found[0].items() if isinstance(value, float)]
    seconds = {name: sum(row[name] for row in found) for name in names}
    return {
        "photos": args.photos,
        "kind": args.kind,
        "runs": found[0]["runs"],
        "net_alone_s": alone,
        "seconds": seconds,
        "whole_to_net": seconds["whole"] / alone,
        "asked": MOST,
        "pictures": pictures,
        "good": seconds["whole"] <= MOST * alone,
    }


def _told(result: dict[str, Any]) -> str:
    photos, seconds, pictures = result["photos"], result["seconds"], result["pictures"]
    height, width = PHOTO_HW
    each = {name: value / photos * 1e3 for name, value in seconds.items()}
    drawn = {k: v / pictures["photos"] * 1e3 for k, v in pictures.items() if isinstance(v, float)}
    return "\n".join(
        [
            f"{photos} photos of {width}x{height} ({result['kind']}), {result['runs']}; ms a photo",
            f"the net alone         {result['net_alone_s'] / photos * 1e3:8.1f}",
            f"the whole             {each['whole']:8.1f}   {result['whole_to_net']:.2f} x the net "
            f"(asked: at most {result['asked']})",
            f"  the net's part      {each['net']:8.1f}",
            f"  beside it: reading  {each['read']:8.1f}",
            f"             writing  {each['write']:8.1f}",
            f"with the start        {each['process']:8.1f}",
            f"ids and pictures at the photos' size: {drawn['whole']:.1f}, of which writing "
            f"{drawn['write']:.1f}, which is {drawn['write'] / drawn['whole']:.0%}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
