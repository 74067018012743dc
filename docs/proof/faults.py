"""Breaks ports on purpose, singly and in threes, and counts what the forward rung finds.

Prints detection, right-layer and false-alarm rates. Exit 1 unless every fault is detected, 95 % are
blamed on exactly their layer, and no healthy pair is blamed.
"""

import random
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

SEEDS = 5
TRIPLES = 20


def main() -> int:
    """Count."""
    from faults import STDC_FAULTS, small_faults, small_pair

    from align import align_forward
    from align.subjects import seeded_pair

    detected = right = broken = alarms = healthy = 0
    draw = random.Random(0)
    names = list(STDC_FAULTS)
    for seed in range(SEEDS):
        torch_net, paddle_net = seeded_pair("stdc1_seg", seed)
        inputs = [np.random.default_rng(seed).standard_normal((2, 3, 64, 96))]
        sets = [[name] for name in names]
        sets += [draw.sample(names, 3) for _ in range(TRIPLES // SEEDS)]
        for train in (False, True):
            healthy += 1
            alarms += align_forward(torch_net, paddle_net, inputs, train=train).exit_code != 0
            for chosen in sets:
                with ExitStack() as stack:
                    layers = {stack.enter_context(STDC_FAULTS[n](paddle_net)) for n in chosen}
                    report = align_forward(torch_net, paddle_net, inputs, train=train)
                broken += 1
                detected += report.exit_code == 1
                right += {d.layer for d in report.divergences} == layers
    for name in small_faults():
        torch_net, paddle_net, batch = small_pair()
        healthy += 1
        alarms += align_forward(torch_net, paddle_net, batch, train=True).exit_code != 0
        layer = small_faults()[name](paddle_net)
        report = align_forward(torch_net, paddle_net, batch, train=True)
        broken += 1
        detected += report.exit_code == 1
        right += {d.layer for d in report.divergences} == {layer}
    print(
        f"{broken} broken ports: {detected / broken:.1%} detected, {right / broken:.1%} blamed on "
        f"exactly the right layers; {healthy} healthy ones: {alarms} false alarms"
    )
    return int(detected < broken or right < 0.95 * broken or alarms > 0)


if __name__ == "__main__":
    sys.exit(main())
