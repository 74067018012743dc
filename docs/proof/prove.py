"""Runs the long proof and writes what it measured to docs/proof/proof.md and the READMEs.

Two stages at a time, each on one core; the benchmarks alone at the end. Every line carries the
date of its measurement; `--only` measures some stages anew.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
TABLE = ROOT / "docs" / "proof" / "proof.md"
RESULTS = ROOT / "docs" / "proof" / "proof.json"
# What one stage may take; all together stay below two hours.
LIMIT_S = 3600
LANES, ALONE = 2, "benchmarks"  # what runs beside these would be in their figures
TOY = ROOT / "data" / "toy_cityscapes"


@dataclass
class Result:
    """One line of the table."""

    name: str
    stage: str
    good: bool
    found: str
    seconds: float
    date: str


def run(
    stage: str,
    name: str,
    command: list[str],
    pattern: str = "",
    every: bool = False,
    folder: Path = ROOT,
) -> Result:
    """Run one command; `pattern` picks the line to show out of what it prints (else the last).

    `every`: show all lines that it picks. `folder`: where it runs.
    """
    print(f"{name}: {' '.join(command)}", file=sys.stderr)
    start = time.monotonic()
    done = subprocess.run(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
    )
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    shown = [line for line in lines if re.search(pattern, line)]
    if done.returncode:
        print("\n".join(lines[-40:]), file=sys.stderr)
    seconds = time.monotonic() - start
    found = "<br>".join(shown if every else shown[-1:]).replace(f"{ROOT}/", "")
    found = re.sub(r"^INFO +- +", "", found)  # mkdocs
    return Result(name, stage, done.returncode == 0, found, seconds, date.today().isoformat())


def readme_commands() -> list[str]:
    """Return the commands in blocks of bash of the README and the guide, each once.

    Without their comments, in the order of the pages.
    """
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    pages += sorted((ROOT / "docs" / "guide").glob("*.md"))
    texts = [page.read_text(encoding="utf-8") for page in pages]
    blocks = [b for text in texts for b in re.findall(r"```bash\n(.*?)```", text, flags=re.S)]
    joined = [block.replace("\\\n", " ") for block in blocks]
    lines = [line.split("#")[0].strip() for block in joined for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line.startswith("python ")))


# What a command reads or writes beside the user's own files.
FILE = re.compile(r"\w+\.(pth|pdparams|safetensors)|runs/[\w/.]+")
# Commands on the user's own two nets; these are what stands in for them.
OWN = re.compile(r"\bmy_(pkg|port)\.|\btrace$")
OWN_NETS = {"my_pkg": "torch_ref", "my_port": "paddle_impl"}
OWN_NET = """from {package} import build_model

def build():
    return build_model("stdc1_seg")
"""


def prepared(command: str, folder: Path) -> list[str]:
    """Return a README command with small data in place of the user's.

    `model.pth` is a seeded checkpoint; a paper's config runs on the toy set for two iterations.
    """
    words = command.split()[1:]
    if OWN.search(command):
        return [sys.executable, str(ROOT / words[0]), *words[1:]]
    if "configs/stdc2.yml" in words:
        words += ["data.root=data/toy_cityscapes", "train.iterations=2", "train.eval_interval=0"]
        words += ["data.crop_hw=[64, 128]", "data.batch_size=2", "data.workers=0"]
    if "configs/stdc1_toy.yml" in words and words[0].startswith("tools/train"):
        words = [word for word in words if not word.startswith("train.iterations")]
        words += ["train.iterations=2", "train.eval_interval=0"]
    if words[0] == "tools/make_toy_cityscapes.py":
        words[1] = str(folder / Path(words[1]).name)
    if words[0].startswith("tools/train"):
        output = folder / re.sub(r"\W+", "_", command.removeprefix("python tools/"))
        words += [f"output={output}", "schedule.warmup_steps=1"]
    if words[0] == "tools/reproduce.py":
        words += ["--fast"]
    words = [str(folder / word) if FILE.fullmatch(word) else word for word in words]
    return [sys.executable, *words]


def run_readme(folder: Path) -> list[Result]:
    """Run every command that the README and the guide show; those on own nets inside `folder`."""
    import numpy as np
    import torch

    from torch_ref.seeded import build_seeded

    folder.mkdir(parents=True, exist_ok=True)
    torch.save(build_seeded("stdc1_seg", 0).state_dict(), folder / "model.pth")
    np.savez(folder / "batch.npz", np.random.default_rng(0).random((1, 3, 64, 96)))
    for name, package in OWN_NETS.items():
        (folder / name).mkdir()
        (folder / name / "nets.py").write_text(OWN_NET.format(package=package))
    results = []
    for command in readme_commands():
        where = folder if OWN.search(command) else ROOT
        results.append(run("readme", f"`{command}`", prepared(command, folder), folder=where))
    return results


def write(results: list[Result], stages: set[str]) -> None:
    """Write the table; lines of stages that were not run now stay."""
    from common.documents import write_text
    from common.environment import versions

    old = json.loads(RESULTS.read_text())["results"] if RESULTS.exists() else []
    kept = [Result(**row) for row in old if row["stage"] not in stages]
    rows = sorted([*kept, *results], key=lambda row: list(STAGES).index(row.stage))
    known = versions()
    lines = [
        "# What `make prove` measured",
        "",
        f"{', '.join(f'{name} {version}' for name, version in known.items())}; two CPU cores.",
        "",
        "| what | good | measured | seconds | date |",
        "|---|---|---|---:|---|",
    ]
    for row in rows:
        good = "yes" if row.good else "**no**"
        found = row.found.replace("|", "/")
        lines.append(f"| {row.name} | {good} | {found} | {row.seconds:.0f} | {row.date} |")
    write_text(TABLE, "\n".join(lines) + "\n")
    data = {"versions": known, "results": [vars(row) for row in rows]}
    write_text(RESULTS, json.dumps(data, indent=1) + "\n")


def prove_tests(stage: str, name: str, *files: str) -> list[Result]:
    """Run the tests that are marked `prove` in some files."""
    command = [sys.executable, "-m", "pytest", "-m", "prove", "--timeout=3000", *files]
    return [run(stage, name, command, r"passed|failed|error")]


# What is shown of each benchmark; of one that is not named, its last line.
SHOWN = {
    "align": r"^STDC1-Seg \[",
    "convert": r"^ours {2,}",
    "data": r"^ours {2,}|^samples a second",
    "inference": r" x torch|products alone",
    "panoptic": r"^(quality|grouping): ",
    "predict": r"photos of|x the net",
    "trace": r"^stdc1_seg \[",
    "train": r"training in Paddle",
}


def benchmarks(stage: str) -> list[Result]:
    """Run every benchmark."""
    return [
        run(
            stage,
            path.name,
            [sys.executable, str(path)],
            SHOWN.get(path.stem, ""),
            path.stem in SHOWN,
        )
        for path in sorted((ROOT / "benchmarks").glob("*.py"))
        if not path.stem.startswith("peers")  # they install other tools: `make peers`
    ]


STAGES = {
    "seeds": lambda: prove_tests(
        "seeds",
        "STDC1-Seg, 20 seeds, forward and backward, eval and train",
        "tests/align/force/test_choices.py",
        "tests/align/rungs/test_forward.py",
        "tests/align/rungs/test_backward.py",
        "tests/align/rungs/test_training.py",
    ),
    "faults": lambda: [
        run(
            "faults",
            "faults, singly and in threes",
            [sys.executable, "docs/proof/faults.py", "--json", "docs/proof/faults.json"],
            r"broken ports",
            every=True,
        )
    ],
    "kills": lambda: prove_tests(
        "kills",
        "kills of trainings, conversions and exports; processes that are killed",
        "tests/commands/test_random_kills.py",
        "tests/commands/test_train_killed.py",
        "tests/commands/test_train_processes.py",
        "tests/commands/test_two_at_once.py",
    ),
    "commands": lambda: prove_tests(
        "commands",
        "own nets, two environments, report pages, the chain, a large photo, readers of segments",
        "tests/commands/test_own_nets.py",
        "tests/commands/test_panoptic_rungs.py",
        "tests/commands/test_instances.py",
        "tests/port/test_twins.py",
        "tests/port/trace/test_regions.py",
        "tests/port/trace/test_trace.py",
        "tests/commands/port/test_port.py",
        "tests/commands/chain/test_chain.py",
        "tests/commands/predict/test_memory.py",
        "tests/align/stored/test_recorded_reference.py",
        "tests/align/stored/test_one_framework_alone.py",
        "tests/align/report/test_page.py",
        "tests/common/metrics/test_panoptic.py",
        "tests/commands/test_no_network.py",
        "tests/commands/test_prints.py",
    ),
    "hostile": lambda: prove_tests(
        "hostile",
        "hostile files, two thousand",
        "tests/hostile/test_corpus.py",
        "tests/convert/formats/test_hostile.py",
        "tests/convert/test_lies.py",
    ),
    "nets": lambda: [
        run("nets", "every row of the table, in full", [sys.executable, "docs/proof/nets.py"]),
        *prove_tests(
            "nets",
            "the other rows of the table",
            "tests/nets/models/test_dilated.py",
            "tests/nets/models/test_solo.py",
            "tests/nets/models/test_mask_rcnn.py",
            "tests/nets/models/test_mask_rcnn_eval.py",
            "tests/nets/models/test_mask_rcnn_faults.py",
            "tests/nets/models/test_mask_rcnn_training.py",
            "tests/nets/models/test_fcn_unet.py",
            "tests/nets/models/test_axial_deeplab.py",
            "tests/nets/models/test_max_deeplab.py",
            "tests/nets/models/test_unet3d.py",
            "tests/commands/test_volumes.py",
            "tests/nets/models/test_panoptic_deeplab.py",
            "tests/common/metrics/test_panoptic.py",
            "tests/nets/training/test_configs.py",
            "tests/commands/test_losses_of_configs.py",
            "tests/convert/test_starting_weights.py",
            "tests/nets/models/test_torchvision.py",
            "tests/export/make/test_rows.py",
        ),
    ],
    "growth": lambda: [
        run(
            "growth",
            "memory and time of a training step by size",
            [sys.executable, "docs/proof/growth.py"],
            r"a million",
            every=True,
        )
    ],
    "tests": lambda: [
        run("tests", "`make seconds`, all tests", ["make", "seconds"], "passed|failed")
    ],
    "toys": lambda: [
        run("toys", "every toy config", [sys.executable, "docs/proof/toys.py"], "configs:")
    ],
    "paddle26": lambda: [
        run("paddle26", "core tests on Paddle 2.6.2", ["make", "test-paddle26"], "passed|failed")
    ],
    "benchmarks": lambda: benchmarks("benchmarks"),
    "demo": lambda: [run("demo", "`make demo`", ["make", "demo"], "mIoU")],
    "docs": lambda: [
        run("docs", "`make docs`, warnings are errors", ["make", "docs"], "built in"),
        *prove_tests(
            "docs",
            "the crash of nll_loss, the noise of the answers",
            "tests/docs/differences/test_functions.py",
            "tests/docs/test_pages.py",
            "tests/docs/test_readmes.py",
        ),
    ],
    "readme": lambda: run_readme(ROOT / "runs" / f"prove_{time.strftime('%H%M%S')}"),
}


def measured(chosen: list[str]) -> Iterator[list[Result]]:
    """Yield what each stage found, in the order in which they end."""
    beside = [name for name in chosen if name != ALONE]
    with ThreadPoolExecutor(LANES) as lanes:
        for job in as_completed([lanes.submit(STAGES[name]) for name in beside]):
            yield job.result()
    if ALONE in chosen:
        yield STAGES[ALONE]()


def main() -> int:
    """Run all, or some, write the tables, exit 1 if anything failed."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", nargs="+", choices=list(STAGES), help="run these stages")
    options = arguments.parse_args()
    chosen = options.only or list(STAGES)
    if not TOY.exists():
        command = [sys.executable, "tools/make_toy_cityscapes.py", str(TOY)]
        subprocess.run(command, cwd=ROOT, check=True)
    results: list[Result] = []
    for found in measured(chosen):
        results += found
        write(results, {result.stage for result in results})
    subprocess.run([sys.executable, "docs/write_tables.py"], cwd=ROOT, check=True)
    return int(not all(result.good for result in results))


if __name__ == "__main__":
    sys.exit(main())
