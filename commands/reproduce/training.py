"""The trainings of a reproduction: where they start, how they run, what their scores say."""

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align.judge.words import Words
from align.report.report import ALIGNED, COULD_NOT_CHECK, NOT_ALIGNED
from commands.align.reprod_log import as_arrays, write_with_log
from commands.subjects.recipe import Recipe
from common.errors import UserError
from common.files import whole_file
from common.settings.own import OwnModel
from common.training.logs import is_validation, read_log
from common.words.language import LANGUAGES, language

ROOT = Path(__file__).resolve().parents[2]
BACKBONE = "cp.backbone."  # of the rows whose recipes start from a backbone
WHOLE_NET = ("weights.into=", "weights.row=null", "weights.key=null", "weights.new_head=false")
SIDES = ("benchmark", "paddle")  # how the guide calls the files of its last checkpoint


class TrainingEnded(UserError):
    """A training came to no scores; its one argument is Words."""


@dataclass(frozen=True)
class Trained:
    """One training. `result` is what its command prints as JSON."""

    folder: Path
    result: Mapping[str, Any]

    @property
    def log(self) -> list[dict[str, Any]]:
        """The rows of its log."""
        return read_log(self.folder / "log.jsonl")

    @property
    def scores(self) -> dict[str, float]:
        """What its best weights scored, by name: mIoU, PQ, AP, the user's metric."""
        at = self.result["best_iteration"]
        rows = [row for row in self.log if is_validation(row) and row["iteration"] == at]
        own = rows[-1].get("metric") if rows else None
        named = own if isinstance(own, dict) else {"metric": own}
        of_task = {"PQ": self.result["best_pq"], "AP": self.result["best_ap"]}
        known = {"mIoU": self.result["best_mean_iou"], **of_task, **named}
        return {name: float(value) for name, value in known.items() if value is not None}


def run_training(framework: str, config: Path, overrides: Sequence[str], output: Path) -> Trained:
    """Train in "paddle" or "torch" as long as the config says, by the command a person types.

    Raises TrainingEnded where it ended early, or was not validated.
    """
    tool = str(ROOT / "tools" / f"train_{framework}.py")
    command = [sys.executable, tool, str(config), *overrides, f"output={output}"]
    options = ["--json", "--lang", LANGUAGES[language()]]
    finished = subprocess.run([*command, *options], stdout=subprocess.PIPE)
    if finished.returncode:
        raise TrainingEnded(Words("training_ended", code=finished.returncode))
    try:
        result = json.loads(finished.stdout)
    except ValueError:
        raise TrainingEnded(Words("training_without_result")) from None
    return Trained(output, result)


def starting_weights(recipe: Recipe, state: Mapping[str, Any], folder: Path) -> list[str]:
    """Return settings that begin Paddle's training at what was converted.

    That is the backbone, unless the config has weights; of the user's own net all that the config
    names.
    """
    from convert.formats.pdparams import write_pdparams

    path = recipe.settings.weights.path
    if isinstance(recipe.settings.model, OwnModel) and state and path:
        return [f"weights.path={folder / 'model.pdparams'}", "weights.key=null"]
    backbone = {key: array for key, array in state.items() if key.startswith(BACKBONE)}
    if not backbone or path:
        return []
    file = folder / "backbone.pdparams"
    with whole_file(file) as draft:
        write_pdparams(backbone, draft)
    return [f"weights.path={file}", f"weights.into={BACKBONE.rstrip('.')}"]


def common_start(recipe: Recipe, reference: Any, folder: Path) -> dict[str, list[str]]:
    """Write the weights at which both trainings start; return settings by framework.

    They are what `train_torch` starts at: the reference's first weights, of the config's seed, with
    what the config starts from; then converted, every tensor accounted for.

    Args:
        reference: the net with the checkpoint of the run, in torch; None where there is none.
        folder: gets `train_start.pth`, `train_start.pdparams` and its account.

    Raises UserError where the config's weights are not the reference's, or do not convert.
    """
    from commands.subjects.run_torch import write_checkpoint
    from commands.train_start import initialised

    settings = recipe.settings
    net = recipe.whole_parts[0].seeded_net(settings.seed)
    own = isinstance(settings.model, OwnModel)
    if own and reference is not None and settings.weights.path:
        net.load_state_dict(reference.state_dict())
    elif settings.weights.path:
        initialised(settings, net, "torch")
    elif reference is not None:
        held = reference.state_dict().items()
        net.load_state_dict({k: t for k, t in held if k.startswith(BACKBONE)}, strict=False)
    theirs, ours = folder / "train_start.pth", folder / "train_start.pdparams"
    write_checkpoint(theirs, net)
    recipe.pair.convert(theirs, ours)
    files = {"torch": theirs, "paddle": ours}
    return {side: [f"weights.path={path}", *WHOLE_NET] for side, path in files.items()}


def compare_scores(
    theirs: Trained, ours: Trained, threshold: float, folder: Path
) -> tuple[int, Words]:
    """Write the guide's last pair of files, `train_align`; return its exit code and what it says.

    Of each training the scores of its best weights. Raises UserError where one side alone has a
    score.
    """
    left, right = theirs.scores, ours.scores
    if not left and not right:
        return COULD_NOT_CHECK, Words("not_validated")
    pair = as_arrays(left), as_arrays(right)
    written = write_with_log(folder, "train_align", *pair, sides=SIDES, threshold=threshold)
    if not all(map(math.isfinite, written.distances.values())):
        return COULD_NOT_CHECK, Words("distance_not_finite", folder=folder)
    worst = max(written.distances, key=lambda name: written.distances[name])
    error = written.distances[worst]
    values = {"name": worst, "reference": left[worst], "port": right[worst], "error": error}
    said = Words("train_align", **values, threshold=threshold, folder=folder)
    if error <= threshold:
        return ALIGNED, said
    return NOT_ALIGNED, Words("train_align_beyond", said=said)
