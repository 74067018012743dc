"""Runs the long proof and writes what it measured to docs/proof/proof.md."""

import argparse
import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
TABLE = ROOT / "docs" / "proof" / "proof.md"
# What one stage may take; all together stay below two hours.
LIMIT_S = 3600


@dataclass
class Result:
    """One line of the table."""

    name: str
    command: str
    good: bool
    found: str
    seconds: float


def run(name: str, command: list[str], pattern: str = "") -> Result:
    """Run one command; `pattern` picks the line to show out of what it prints (else the last)."""
    print(f"{name}: {' '.join(command)}", file=sys.stderr)
    start = time.monotonic()
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
    )
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    shown = [line for line in lines if re.search(pattern, line)] if pattern else lines
    if done.returncode:
        print("\n".join(lines[-40:]), file=sys.stderr)
    seconds = time.monotonic() - start
    typed = " ".join(command).replace(sys.executable, "python").replace(str(ROOT) + "/", "")
    return Result(name, typed, done.returncode == 0, shown[-1] if shown else "", seconds)


def readme_commands() -> list[str]:
    """Return the commands of the README that stand in blocks of bash, without their comments."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("python ")]


def prepared(command: str, folder: Path) -> list[str] | None:
    """Return a README command with small data in place of the user's; None where it needs a GPU.

    `model.pth` is a seeded checkpoint; a paper's config runs on the toy set for two iterations.
    """
    words = command.split()[1:]
    if "configs/stdc2.yml" in words:
        words += ["data.root=data/toy_cityscapes", "train.iterations=2", "train.eval_interval=0"]
        words += ["data.crop_hw=[64, 128]", "data.batch_size=2", "data.workers=0"]
    if "configs/stdc1_toy.yml" in words and words[0].startswith("tools/train"):
        words = [word for word in words if not word.startswith("train.iterations")]
        words += ["train.iterations=2", "train.eval_interval=0"]
    if words[0] == "tools/make_toy_cityscapes.py":
        words[1:] = [str(folder / "toy_cityscapes")]
    if words[0].startswith("tools/train"):
        words += [f"output={folder / str(abs(hash(command)))}"]
    if words[0] == "tools/reproduce.py":
        words += ["--fast"]
    words = [str(folder / "model.pth") if word == "model.pth" else word for word in words]
    return [sys.executable, *words]


def run_readme(folder: Path) -> list[Result]:
    """Run every command that the README shows."""
    import torch

    from torch_ref.seeded import build_seeded

    folder.mkdir(parents=True, exist_ok=True)
    torch.save(build_seeded("stdc1_seg", 0).state_dict(), folder / "model.pth")
    toy = ROOT / "data" / "toy_cityscapes"
    if not toy.exists():
        subprocess.run(
            [sys.executable, "tools/make_toy_cityscapes.py", str(toy)], cwd=ROOT, check=True
        )
    results = []
    for command in readme_commands():
        words = prepared(command, folder)
        if words is not None:
            results.append(run(f"README: {command}", words))
    return results


def write(results: list[Result]) -> None:
    """Write the table with date and versions."""
    from align.report import versions, write_text

    known = ", ".join(f"{name} {version}" for name, version in versions().items())
    lines = [
        "# What `make prove` measured",
        "",
        f"{date.today().isoformat()}, {known}, two CPU cores.",
        "",
        "| what | good | measured | seconds |",
        "|---|---|---|---:|",
    ]
    for result in results:
        found = result.found.replace("|", "/")
        good = "yes" if result.good else "**no**"
        lines.append(f"| {result.name} | {good} | {found} | {result.seconds:.0f} |")
    write_text(TABLE, "\n".join(lines) + "\n")


def main() -> int:
    """Run all, write the table, exit 1 if anything failed."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", help="run the stages whose name holds this; writes no table")
    options = arguments.parse_args()
    python = sys.executable
    pytest = [python, "-m", "pytest", "-m", "prove", "-q", "--timeout=3000"]
    mark = r"passed|failed|error"
    stages = {
        "many seeds, kills and hostile files": lambda: [run("prove tests", pytest, mark)],
        "faults": lambda: [run("faults", [python, "docs/proof/faults.py"])],
        "paddle 2.6.2": lambda: [
            run("core tests on Paddle 2.6.2", ["make", "test-paddle26"], mark)
        ],
        "benchmarks": lambda: [
            run(path.name, [python, str(path.relative_to(ROOT))])
            for path in sorted((ROOT / "benchmarks").glob("*.py"))
        ],
        "demo": lambda: [run("make demo", ["make", "demo"], "mIoU")],
        "readme": lambda: run_readme(ROOT / "runs" / f"prove_{time.strftime('%H%M%S')}"),
    }
    results: list[Result] = []
    for name, stage in stages.items():
        if not options.only or options.only in name:
            results += stage()
    for result in results:
        print(json.dumps(vars(result)))
    if not options.only:
        write(results)
    return int(not all(result.good for result in results))


if __name__ == "__main__":
    sys.exit(main())
