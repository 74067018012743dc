"""examples/own_recipe, changed and climbed by tests of commands."""

import json

from tests.nursery import run
from tests.paths import ROOT

EXAMPLE = ROOT / "examples" / "own_recipe"


def replace(folder, file, old, new):
    text = (folder / file).read_text()
    assert text.count(old) == 1, old
    (folder / file).write_text(text.replace(old, new))


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


RUNGS = {
    "weights": ["align_stage", "weights"],
    "init": ["align_stage", "init"],
    "forward, eval": ["align_forward"],
    "forward, train": ["align_forward", "--train"],
    "backward": ["align_backward"],
    "data": ["align_stage", "data"],
    "loss": ["align_stage", "loss"],
    "metric": ["align_stage", "metric"],
    "step": ["align_stage", "step"],
    "training": ["align_training"],
}


def climb(rung, folder, *overrides):
    """Return (exit code, report) of a rung on the example in `folder`."""
    tool, *arguments = RUNGS[rung]
    stage = [word for word in arguments if word[0] != "-"]
    more = [word for word in arguments if word[0] == "-"]
    done = run(tool, *stage, "my_net.yml", *overrides, *more, "--json", cwd=folder)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)[0]
