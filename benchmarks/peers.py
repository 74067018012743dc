"""PaDiff, reprod_log, X2Paddle and PaConvert beside this project, on the same nets.

Each peer gets an environment of its own (made once, in the cache folder, beside the frameworks
that run this script) and the same healthy ports and ports broken on purpose as docs/proof/faults.py
has: of each net of NETS the faults that a drawn seed picks, singly, seen in the forward pass. What
compares runs at its defaults and at the loosest and the tightest setting of its own documentation;
weights are equal already, and nobody copies them. A crash is counted as such. PaDiff names a class
of layers; where that is the class of a layer that is at fault, it is counted as right. Converters
get rows of the table of nets; their result is right where its output is the net's, up to 1e-4.

    python benchmarks/peers.py                     # half an hour on one core
    python benchmarks/peers.py --only PaDiff       # one peer anew; the others' rows stay
"""

import argparse
import contextlib
import inspect
import io
import json
import os
import random
import re
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
RESULTS = ROOT / "docs" / "proof" / "peers.json"
OURS, SEED, DRAWN, LIMIT_S = "this project", 0, 4, 3600
NETS = ("stdc", "attention", "zoo", "pyramid", "decoder")
HEALTHY = ("stdc", "stdc 1", *NETS[1:])
ROWS = {
    "stdc1_seg": (1, 3, 64, 96),
    "unet": (1, 3, 32, 48),
    "deeplabv3plus_r50": (1, 3, 33, 49),
}
AGREES = 1e-4  # of the largest magnitude, in float32
PEERS = {
    "PaDiff": ("padiff==0.2.0",),
    "reprod_log": ("reprod_log==1.0.1",),
    "X2Paddle": ("x2paddle==1.6.0", "six", "requests"),
    "PaConvert": ("paconvert==3.3.1",),
}
# name -> {setting: arguments}
CHECKERS: dict[str, dict[str, Any]] = {
    OURS: {"no tolerances": {}},
    "PaDiff": {
        "defaults: means, rtol 1e-7": {},
        "loosest, its README: strict, atol 1e-4": {
            "atol": 1e-4,
            "rtol": 0,
            "compare_mode": "strict",
        },
        "tightest: strict, rtol 1e-7": {"compare_mode": "strict"},
    },
    "reprod_log": {
        "defaults: mean below 1e-6": {"diff_method": "mean", "diff_threshold": 1e-6},
        "loosest, the guide: mean below 1e-5": {"diff_method": "mean", "diff_threshold": 1e-5},
        "tightest: max below 1e-6": {"diff_method": "max", "diff_threshold": 1e-6},
    },
}
CONVERTERS = (OURS, "X2Paddle", "PaConvert")


def main() -> int:
    """Measure, write the results, print what was found."""
    options = _parse()
    if options.child:
        return _child(options.child, json.loads(options.work), Path(options.into))
    results = options.results
    known = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    names = options.only or [OURS, *PEERS]
    cases = [case for case in drawn_cases() if case[0].partition(" ")[0] in options.nets]
    measured = {"checks": {}, "conversions": {}, "dates": {}} | known
    for name in names:
        if name in CHECKERS:
            measured["checks"][name] = _checked(name, environment_of(name), cases)
            _write(measured, cases, results)
    for name in sorted(names, key=lambda name: name == OURS):  # the longest last
        if name in CONVERTERS:
            measured["conversions"][name] = _converted(name, environment_of(name))
        measured["dates"][name] = date.today().isoformat()
        _write(measured, cases, results)
    print(f"written: {results}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=[OURS, *PEERS], help="these, anew")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=NETS, help="these alone")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to write")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--into", help=argparse.SUPPRESS)
    return parser.parse_args()


def _write(known: Mapping[str, Any], cases: Sequence[Sequence[str]], results: Path) -> None:
    from common.documents import write_text
    from common.environment import versions

    head = {"versions": versions(), "cores": os.cpu_count(), "cases": cases}
    write_text(results, json.dumps({**known, **head}, indent=1) + "\n")


def drawn_cases() -> list[list[str]]:
    """Return [net, fault] of every case; a healthy one has no fault."""
    from tests.faults import ALL

    draw = random.Random(SEED)
    found = [[net, ""] for net in HEALTHY]
    for net in NETS:
        able = [f.name for f in ALL if f.subject == net and "forward" in f.blame]
        found += [[net, name] for name in sorted(draw.sample(able, DRAWN))]
    return found


# Environments.


def environment_of(name: str) -> Path:
    """Return the Python of a peer's environment, made where it is not there."""
    from export.choice import cache_folder

    if name == OURS:
        return Path(sys.executable)
    folder = cache_folder() / "peers" / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        limits = ["-c", str(ROOT / "constraints.txt")]
        install = [str(python), "-m", "pip", "install", "--quiet", *limits, *PEERS[name]]
        subprocess.run(install, check=True)
        code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
        place = subprocess.run([str(python), "-c", code], capture_output=True, text=True).stdout
        frameworks = Path(place.strip()) / "frameworks.pth"
        frameworks.write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
        (folder / "ready").touch()
    return python


def _run_child(
    name: str, python: Path, kind: str, work: Sequence[Any]
) -> tuple[list[dict[str, Any]], float]:
    """Return a row for each piece of work, and the largest peak of memory (MB).

    A process that dies leaves a row that says so, and another goes on behind it.
    """
    rows: list[dict[str, Any]] = []
    peak = 0.0
    while len(rows) < len(work):
        with tempfile.TemporaryDirectory(prefix="peers-") as folder:
            into = Path(folder) / "rows.jsonl"
            command = [str(python), str(Path(__file__).resolve()), "--child", f"{kind} {name}"]
            command += ["--work", json.dumps(work[len(rows) :]), "--into", str(into)]
            place = Path(folder) / "here"
            place.mkdir()
            told = ""
            try:
                done = subprocess.run(
                    command, cwd=place, capture_output=True, text=True, timeout=LIMIT_S
                )
                told = (done.stderr.strip().splitlines() or [""])[-1]
                told = f"exit {done.returncode}: {told}"
            except subprocess.TimeoutExpired:
                told = f"not done in {LIMIT_S} s"
            lines = into.read_text(encoding="utf-8").splitlines() if into.exists() else []
            made = [json.loads(line) for line in lines]
        peak = max([peak, *(row.pop("megabytes") for row in made)])
        rows += made
        if len(rows) < len(work):
            rows.append({"crash": told[:200], "seconds": 0.0, "disk": 0.0})
    return rows, peak


# What compares.


def _checked(name: str, python: Path, cases: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Return one row a setting; memory is the peak of all of them."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    settings = CHECKERS[name]
    work = [[*case, arguments] for arguments in settings.values() for case in cases]
    rows, peak = _run_child(name, python, "check", work)
    parts = [rows[at : at + len(cases)] for at in range(0, len(rows), len(cases))]
    pairs = zip(settings, parts, strict=True)
    return [_summed(setting, cases, part, peak) for setting, part in pairs]


def _summed(
    setting: str, cases: Sequence[Sequence[str]], rows: Sequence[Mapping[str, Any]], peak: float
) -> dict[str, Any]:
    pairs = list(zip(cases, rows, strict=True))
    broken = [row for (_, fault), row in pairs if fault]
    healthy = [row for (_, fault), row in pairs if not fault]
    return {
        "setting": setting,
        "broken": len(broken),
        "detected": sum(row.get("detected", False) for row in broken),
        "right": sum(bool(row.get("right")) for row in broken),
        "names_layers": any(row.get("right") is not None for row in broken),
        "healthy": len(healthy),
        "alarms": sum(row.get("detected", False) for row in healthy),
        "crashes": sum("crash" in row for row in broken),
        "crashes_healthy": sum("crash" in row for row in healthy),
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "megabytes": round(peak),
        "disk": round(max(row["disk"] for row in rows), 2),
        "of_cases": [
            {"net": net, "fault": fault} | {k: v for k, v in row.items() if k != "disk"}
            for (net, fault), row in pairs
        ],
    }


def _child(what: str, work: Sequence[Any], into: Path) -> int:
    """Do each piece of work in this process and write a row for it."""
    kind, _, name = what.partition(" ")
    sys.path.insert(0, os.getcwd())  # PaDiff writes beside the first entry
    do: Callable[..., dict[str, Any]] = CHECKS[name] if kind == "check" else CONVERSIONS[name]
    for arguments in work:
        start = clock()
        try:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                row = do(*arguments, out)
        except Exception as error:
            words = " ".join(str(error).split())
            row = {"crash": f"{type(error).__name__}: {words}"[:200]}
        row["seconds"] = row.get("seconds", round(clock() - start, 2))
        files = [path.stat().st_size for path in Path.cwd().rglob("*") if path.is_file()]
        row["disk"] = sum(files) / 1e6
        row["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        with into.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    return 0


def clock() -> float:
    """Return the processor's seconds of this process and of those that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _subject(net: str, fault: str) -> tuple[Any, frozenset[str]]:
    """Return a subject and the layers at fault, in eval mode."""
    from tests.faults import ALL, SUBJECTS
    from tests.faults.subjects import stdc_subject

    name, _, seed = net.partition(" ")
    subject = stdc_subject(int(seed)) if seed else SUBJECTS[name]()
    layers = frozenset[str]()
    for each in ALL:
        if each.subject == name and each.name == fault:
            layers = each.layers("forward", subject)
            each.apply(subject)
    subject.torch_net.eval()
    subject.paddle_net.eval()
    return subject, layers


def _arrays(subject: Any) -> list[Any]:
    import numpy as np

    given = subject.inputs
    arrays = list(given.values()) if isinstance(given, Mapping) else list(given)
    return [np.asarray(a, "float32") if np.asarray(a).dtype.kind == "f" else a for a in arrays]


def check_ours(net: str, fault: str, arguments: Mapping[str, Any], out: Any) -> dict[str, Any]:
    """Align the forward pass."""
    from align import align_forward
    from tests.faults.core import found_layers

    subject, layers = _subject(net, fault)
    start = clock()
    report = align_forward(subject.torch_net, subject.paddle_net, subject.inputs)
    seconds = round(clock() - start, 2)
    right = found_layers(report) == layers if fault else None
    return {"detected": report.exit_code != 0, "right": right, "seconds": seconds}


def check_padiff(net: str, fault: str, arguments: Mapping[str, Any], out: Any) -> dict[str, Any]:
    """Compare with PaDiff, forward and backward as it does by itself."""
    import paddle
    import torch
    from padiff import auto_diff

    subject, layers = _subject(net, fault)
    nets, arrays = (subject.paddle_net, subject.torch_net), _arrays(subject)
    classes = {type(subject.layer(path)).__name__ for path in layers}
    names = [list(inspect.signature(type(each).forward).parameters)[1:] for each in nets]
    tensors = [paddle.to_tensor(a) for a in arrays], [torch.as_tensor(a) for a in arrays]
    inputs = tuple(dict(zip(*pair, strict=False)) for pair in zip(names, tensors, strict=True))
    start = clock()
    same = auto_diff(*nets, inputs, auto_weights=False, options=dict(arguments))
    seconds = round(clock() - start, 2)
    told = re.findall(r"Type of layer is +: +(?:\S+) vs (\S+)", out.getvalue())
    right = bool(told and told[0] in classes) if fault else None
    said = {"says": told[0]} if told else {}
    return {"detected": not same, "right": right, "seconds": seconds, **said}


def check_reprod_log(
    net: str, fault: str, arguments: Mapping[str, Any], out: Any
) -> dict[str, Any]:
    """Log every output of both nets, as the guide's first checkpoint does, and compare."""
    import paddle
    import torch
    from reprod_log import ReprodDiffHelper, ReprodLogger

    from align.arrays.trees import leaves

    subject, _ = _subject(net, fault)
    arrays = _arrays(subject)
    start = clock()
    with torch.no_grad(), paddle.no_grad():
        theirs = leaves(subject.torch_net(*(torch.as_tensor(a) for a in arrays)))
        ours = leaves(subject.paddle_net(*(paddle.to_tensor(a) for a in arrays)))
    for side, outputs in (("torch", theirs), ("paddle", ours)):
        log = ReprodLogger()
        for index, tensor in enumerate(outputs):
            log.add(f"output_{index}", tensor.numpy())
        log.save(f"{side}.npy")
    helper = ReprodDiffHelper()
    helper.compare_info(helper.load_info("torch.npy"), helper.load_info("paddle.npy"))
    Path("diff.log").unlink(missing_ok=True)
    helper.report(path="diff.log", **arguments)
    said = Path("diff.log").read_text(encoding="utf-8")
    seconds = round(clock() - start, 2)
    return {"detected": "diff check passed" not in said, "right": None, "seconds": seconds}


# What converts.


def _converted(name: str, python: Path) -> list[dict[str, Any]]:
    """Return one row a net."""
    print(f"{name}, conversions ...", file=sys.stderr, flush=True)
    work = [[row, shape] for row, shape in ROWS.items()]
    rows, peak = _run_child(name, python, "convert", work)
    nets = zip(ROWS, rows, strict=True)
    return [{"net": net, "megabytes": round(peak), **row} for net, row in nets]


def _built(row: str, shape: Sequence[int]) -> tuple[Any, Any, Any]:
    """Return the net in torch, an input, and its largest output as an array."""
    import torch

    from commands.subjects.inputs import seeded_input
    from torch_ref.seeded import build_seeded

    net = build_seeded(row, SEED).eval()
    image = torch.as_tensor(seeded_input(tuple(shape), SEED), dtype=torch.float32)
    with torch.no_grad():
        return net, image, _first(net(image)).numpy()


def _first(outputs: Any) -> Any:
    from align.arrays.trees import leaves

    return leaves(outputs)[0]


def _verdict(found: Any, wanted: Any) -> dict[str, Any]:
    import numpy as np

    if found.shape != wanted.shape:
        return {"loads": True, "agrees": False, "error": None}
    error = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    return {"loads": True, "agrees": bool(error <= AGREES), "error": error}


def convert_ours(row: str, shape: Sequence[int], out: Any) -> dict[str, Any]:
    """Port the net with tools/port.py, which proves what it wrote; exit 0 is that proof."""
    command = [sys.executable, str(ROOT / "tools" / "port.py"), "torch_ref:build_model"]
    command += ["--args", f"name={row}", "--input-shape", *map(str, shape), "-o", f"port_{row}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    told = (done.stdout + done.stderr).strip().splitlines() or [""]
    good = done.returncode == 0
    made = {"loads": done.returncode in (0, 1), "agrees": good, "momentum": good}
    return made if good else {**made, "crash": told[-1][:200]}


def convert_x2paddle(row: str, shape: Sequence[int], out: Any) -> dict[str, Any]:
    """Convert the traced net, then run the code that was written."""
    from x2paddle.convert import pytorch2paddle

    net, image, wanted = _built(row, shape)
    start = clock()
    pytorch2paddle(net, row, "trace", [image], disable_feedback=True)
    seconds = round(clock() - start, 2)
    import paddle

    file = Path(row) / "x2paddle_code.py"
    code = file.read_text(encoding="utf-8")
    space: dict[str, Any] = {"__name__": row}
    exec(compile(code, str(file), "exec"), space)
    found = _first(space["main"](paddle.to_tensor(image.numpy()))).numpy()
    momentum = not re.search(r"BatchNorm\w*\([^)]*momentum=0\.1\b", code)
    return {**_verdict(found, wanted), "momentum": momentum, "seconds": seconds}


def convert_paconvert(row: str, shape: Sequence[int], out: Any) -> dict[str, Any]:
    """Convert the package of the reference nets; run the net that it builds in its own process."""
    import numpy as np

    start = clock()
    if not Path("made").exists():
        command = [sys.executable, "-m", "paconvert.main", "-i", str(ROOT / "torch_ref")]
        done = subprocess.run([*command, "-o", "made/torch_ref"], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
    seconds = round(clock() - start, 2)
    net, image, wanted = _built(row, shape)
    arrays = {key: value.numpy() for key, value in net.state_dict().items()}
    np.savez("given.npz", image=image.numpy(), **{f"w.{k}": a for k, a in arrays.items()})
    command = [sys.executable, "-c", PACONVERTED, str(ROOT), row]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return {**_verdict(np.load("found.npy"), wanted), "momentum": None, "seconds": seconds}


# The converted package as a user has it: PaConvert converts no weights, so those that fit go in.
PACONVERTED = """
import sys, numpy as np
sys.path[:0] = ["made", sys.argv[1]]
import paddle, torch_ref
assert "made" in torch_ref.__file__, torch_ref.__file__
from convert import convert_state
from align.arrays.trees import leaves
net = torch_ref.build_model(sys.argv[2])
given = np.load("given.npz")
arrays = {k[2:]: given[k] for k in given.files if k.startswith("w.")}
net.set_state_dict(convert_state(arrays, net, cast=True).state)
net.eval()
np.save("found.npy", leaves(net(paddle.to_tensor(given["image"])))[0].numpy())
"""
CHECKS = {OURS: check_ours, "PaDiff": check_padiff, "reprod_log": check_reprod_log}
CONVERSIONS = {OURS: convert_ours, "X2Paddle": convert_x2paddle, "PaConvert": convert_paconvert}


if __name__ == "__main__":
    sys.exit(main())
