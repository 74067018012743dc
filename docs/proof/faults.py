"""Breaks ports on purpose, singly and in threes, and counts what each stage finds.

Prints, per stage, how many broken ports were detected, how many were blamed on exactly the right
layers, how many of those with a known cause were told it, and how many healthy ones raised a false
alarm. Exit 1 unless every fault is detected, 95 % are blamed rightly, 80 % of the causes are right
and no healthy pair is blamed.

python docs/proof/faults.py --json faults.json
"""

import argparse
import ctypes
import gc
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

SEEDS = 5
TRIPLES = 40


@dataclass
class Trial:
    """One run of one stage on one subject with no, one or three faults."""

    stage: str
    subject: str
    faults: list[str]
    detected: bool
    right: bool
    cause: bool | None  # None where no cause is defined
    found: list[str]
    exit_code: int


def try_healthy(subject: str, stage: str, make: Any) -> Trial:
    """Run a stage on a healthy pair."""
    from tests.faults import run_stage

    report = run_stage(stage, make())
    said = [str(d) for d in report.divergences]
    good = report.exit_code == 0
    return Trial(stage, subject, [], not good, good, None, said, report.exit_code)


def try_broken(stage: str, faults: Sequence[Any]) -> Trial:
    """Run a stage on a fresh subject with `faults`; a crash counts as not detected."""
    from tests.faults import SUBJECTS, run_stage
    from tests.faults.core import found_layers

    subject = SUBJECTS[faults[0].subject]()
    names = [fault.name for fault in faults]
    for fault in faults:
        fault.apply(subject)
    try:
        report = run_stage(stage, subject)
    except Exception as error:
        said = [f"{type(error).__name__}: {error}"]
        return Trial(stage, faults[0].subject, names, False, False, False, said, 2)
    expected = frozenset().union(*(fault.layers(stage, subject) for fault in faults))
    known = [fault for fault in faults if fault.cause]
    causes = all(fault.right_cause(report) for fault in known) if known else None
    return Trial(
        stage,
        faults[0].subject,
        names,
        report.exit_code == 1,
        found_layers(report) == expected,
        causes,
        [str(divergence) for divergence in report.divergences],
        report.exit_code,
    )


def trials(only: Sequence[str]) -> Iterator[Trial]:
    """Run everything, or what concerns some subjects."""
    from tests.faults import ALL, SUBJECTS, triples
    from tests.faults.subjects import stdc_subject

    for name, make in SUBJECTS.items():
        if not only or name in only:
            for stage in make().stages:
                yield try_healthy(name, stage, make)
    for seed in range(1, SEEDS) if not only or "stdc" in only else ():
        for stage in ("forward", "train", "backward"):
            yield try_healthy("stdc", stage, lambda seed=seed: stdc_subject(seed))
    chosen = [fault for fault in ALL if not only or fault.subject in only]
    for fault in chosen:
        for stage in fault.blame:
            yield try_broken(stage, [fault])
    for stage, three in triples(chosen, TRIPLES, seed=0):
        yield try_broken(stage, three)


def give_back() -> None:
    """Free what the last trial left, and give the C library's free pages back to the system."""
    gc.collect()  # forwards that a fault patches are cycles, and hold whole nets
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def table(found: Sequence[Trial]) -> list[str]:
    """Return one line a stage, and one for all, last."""
    lines = []
    for stage in [*dict.fromkeys(trial.stage for trial in found), "all stages"]:
        own = [trial for trial in found if stage in (trial.stage, "all stages")]
        broken, healthy = [t for t in own if t.faults], [t for t in own if not t.faults]
        causes = [t.cause for t in broken if t.cause is not None]
        lines.append(
            f"{stage}: {len(broken)} broken ports: {_rate([t.detected for t in broken])} detected, "
            f"{_rate([t.right for t in broken])} blamed on exactly the right layers, "
            f"{_rate(causes)} of {len(causes)} causes right; {len(healthy)} healthy ones: "
            f"{sum(t.detected for t in healthy)} false alarms"
        )
    return lines


def _rate(values: Sequence[Any]) -> str:
    return f"{sum(map(bool, values)) / len(values):.1%}" if values else "-"


def main() -> int:
    """Count."""
    from tests.faults import ALL, EQUIVALENT

    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", type=Path, help="write every trial to this file")
    arguments.add_argument("--only", nargs="+", default=[], help="subjects to break")
    options = arguments.parse_args()
    found = []
    for trial in trials(options.only):
        found.append(trial)
        if trial.detected == (not trial.faults) or (trial.faults and not trial.right):
            print(f"WRONG {trial.stage} {trial.subject} {trial.faults}", file=sys.stderr)
        give_back()
    if options.json:
        from common.documents import write_text

        data = {"equivalent": EQUIVALENT, "trials": [asdict(trial) for trial in found]}
        write_text(options.json, json.dumps(data, indent=1) + "\n")
    print(f"{len(ALL)} faults, {len(EQUIVALENT)} equivalent mutations listed and not counted")
    print("\n".join(table(found)))
    broken, healthy = [t for t in found if t.faults], [t for t in found if not t.faults]
    causes = [t.cause for t in broken if t.cause is not None]
    good = (
        all(t.detected for t in broken)
        and sum(t.right for t in broken) >= 0.95 * len(broken)
        and sum(map(bool, causes)) >= 0.8 * len(causes)
        and not any(t.detected for t in healthy)
    )
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
