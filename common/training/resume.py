"""Where a run is resumed: a folder with arrays in safetensors and a manifest in JSON; no pickle.

checkpoints/iteration_00000100/state.safetensors
                               checkpoint.json     what else a run needs, and check sums
"""

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from common.documents import STRICT, checked, json_in
from common.errors import ConfigError, UnreadableError, UserError
from common.files import remove_folder, require_file, whole_folder
from common.processes.group import ProcessGroup
from common.schedules import PlateauState
from common.settings.run import Settings
from common.settings.section import flatten
from common.training.early_stop import EarlyState
from common.training.parts import parts_of, require_parts

FORMAT = 2
ARRAYS, MANIFEST = "state.safetensors", "checkpoint.json"
# What may change when a run is resumed, because no weight depends on it.
FREE_KEYS = (
    "name",
    "metric",
    "model.kind",
    "output",
    "data.root",
    "data.workers",
    "train.log_interval",
    "train.eval_interval",
    "train.checkpoint_interval",
    "train.keep",
    "train.early_stop",
    "log",
    "processes.timeout_s",
    "reproduce",
)


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, or belongs to another run."""


@dataclass
class Best:
    """The best validation so far.

    By the metric of the user's, where there is one, else by PQ of panoptic nets, by mask AP of nets
    of instances, which have no mIoU, else by mIoU.
    """

    mean_iou: float | None
    iteration: int
    metric: float | None = None
    pq: float | None = None
    ap: float | None = None

    @property
    def score(self) -> float:
        """What says which is best: higher is better."""
        return self.scores[0]

    @property
    def scores(self) -> list[float]:
        """The scores that there are."""
        every = (self.metric, self.pq, self.ap, self.mean_iou)
        return [score for score in every if score is not None]


@dataclass
class Position:
    """Where a run stands, beside its arrays.

    Attributes:
        iteration: updates done.
        validated: iteration of the last validation, -1 before the first.
        best: best validation so far.
        sums: terms of the loss, summed since the last line of the log.
        counted: iterations in `sums`.
        plateau: what the schedule of that name knows of the validations.
        early: what the early stop knows of them.
    """

    iteration: int = 0
    validated: int = -1
    best: Best | None = None
    sums: dict[str, float] = field(default_factory=dict)
    counted: int = 0
    plateau: PlateauState = field(default_factory=PlateauState)
    early: EarlyState = field(default_factory=EarlyState)

    def __post_init__(self) -> None:
        if isinstance(self.early, dict):
            self.early = EarlyState(**self.early)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Position":
        """Return what `asdict` made of one. Raises TypeError where a name is unknown."""
        position = cls(**values)
        if isinstance(position.best, dict):
            position.best = Best(**position.best)
        if isinstance(position.plateau, dict):
            position.plateau = PlateauState(**position.plateau)
        return position


@dataclass(frozen=True)
class ResumePoint:
    """A checkpoint that was read and whose check sums hold."""

    path: Path
    position: Position
    arrays: dict[str, np.ndarray]
    framework: str
    settings: dict[str, Any]
    data: str


def write_checkpoint(
    folder: Path,
    position: Position,
    arrays: Mapping[str, np.ndarray],
    *,
    framework: str,
    settings: Mapping[str, Any],
    data: str,
    keep: int,
) -> Path:
    """Write a checkpoint to `folder`, whole or not at all, and keep the newest `keep`.

    settings: of the run, as plain values. data: fingerprint of the data sets.
    """
    # Not ascontiguousarray: it gives a counter of BatchNorm, which has no dimension, one.
    content = save_arrays({key: np.asarray(array, order="C") for key, array in arrays.items()})
    manifest = {
        "format": FORMAT,
        "framework": framework,
        "position": asdict(position),
        "settings": settings,
        "data": data,
        "arrays": {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "held": parts_of(arrays),
        },
    }
    path = folder / f"iteration_{position.iteration:08d}"
    with _earlier_named(folder), whole_folder(path) as draft:
        (draft / ARRAYS).write_bytes(content)
        sealed = {**manifest, "sha256": seal_of(manifest)}
        (draft / MANIFEST).write_text(json.dumps(sealed, indent=1) + "\n", encoding="utf-8")
    for old in [other for other in list_checkpoints(folder) if other != path][max(keep - 1, 0) :]:
        remove_folder(old)
    return path


@contextmanager
def _earlier_named(folder: Path) -> Iterator[None]:
    """Say which checkpoint stands where the block cannot write another."""
    try:
        yield
    except UserError as error:
        earlier = next(iter(list_checkpoints(folder)), None)
        stands = f"; {earlier} stands, and `--resume auto` goes on from it" if earlier else ""
        raise UserError(f"{error}{stands}") from None


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, newest first; whether they are sound is not looked at."""
    return sorted((p for p in folder.glob("iteration_*") if p.is_dir()), reverse=True)


def read_resume_point(path: Path) -> ResumePoint:
    """Read a checkpoint (its folder, or a file in it) and verify its check sums.

    Raises CheckpointError saying what is wrong.
    """
    folder = path if path.is_dir() else path.parent
    if not path.exists() or not (folder / MANIFEST).is_file():
        wrong = "no such file or folder" if not path.exists() else f"holds no {MANIFEST}"
        raise CheckpointError(f"{path}: {wrong}; give a folder such as checkpoints/iteration_...")
    try:
        about = _manifest_of(folder / MANIFEST)
        position = Position.of(about.position)
        position = checked(Position, asdict(position), "position", MANIFEST)
        arrays = _arrays_of(folder / ARRAYS, about.arrays)
    except UnreadableError as error:
        raise CheckpointError(f"{folder}: damaged: {error}") from None
    except (*_DAMAGED, SafetensorError) as error:
        raise CheckpointError(f"{folder}: damaged: {type(error).__name__}: {error}") from None
    if wrong := _contradiction(position, folder.name):
        raise CheckpointError(f"{folder}: damaged: {wrong}")
    return ResumePoint(folder, position, arrays, about.framework, about.settings, about.data)


_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass
class _Arrays:
    """What a manifest says about the file of arrays: `held` is how many each part has."""

    __pydantic_config__ = STRICT

    bytes: int
    sha256: str
    held: dict[str, int]


@dataclass
class _Manifest:
    """What a manifest says."""

    __pydantic_config__ = STRICT

    format: int
    framework: str
    position: dict[str, Any]
    settings: dict[str, Any]
    data: str
    arrays: _Arrays
    sha256: str


def _manifest_of(path: Path) -> _Manifest:
    """Return what a manifest says, its seal verified; UnreadableError, or one of _DAMAGED."""
    found = json_in(path)
    if not isinstance(found, dict):
        raise UnreadableError(f"{path.name}: is no JSON object")
    if found.get("format") != FORMAT:
        shown = f"{found.get('format')!r:.40}"
        raise UnreadableError(f"{path.name}: of format {shown}, not {FORMAT}")
    if found.get("sha256") != seal_of({k: v for k, v in found.items() if k != "sha256"}):
        raise UnreadableError(f"{path.name} does not match its check sum")
    manifest: _Manifest = checked(_Manifest, found, what=path.name)
    return manifest


def _arrays_of(path: Path, about: _Arrays) -> dict[str, np.ndarray]:
    """Return the arrays of a checkpoint, all that its manifest counts.

    Raises UnreadableError, or one of _DAMAGED, where they are others.
    """
    content = require_file(path).read_bytes()
    if hashlib.sha256(content).hexdigest() != about.sha256:
        raise UnreadableError(
            f"{path.name} ({len(content)} of {about.bytes} bytes) does not match its check sum"
        )
    arrays: dict[str, np.ndarray] = load_arrays(content)
    require_parts(arrays, about.held, path)
    return arrays


def _contradiction(position: Position, name: str) -> str:
    """Say what of a position cannot be, "" where all can; `name` is that of its folder."""
    said = re.fullmatch(r"iteration_(\d{8})", name)
    if said and int(said[1]) != position.iteration:
        return f"its position says iteration {position.iteration}"
    best, counts = position.best, (position.iteration, position.counted, position.validated + 1)
    if min(counts) < 0 or position.validated > position.iteration:
        return "its position says numbers that cannot be"
    if best and (not best.scores or not 0 <= best.iteration <= position.iteration):
        return "its best validation is none"
    return ""


def find_checkpoint(
    folder: Path, resume: str, message: Callable[[str], None]
) -> ResumePoint | None:
    """The checkpoint to resume from, or None where `resume` is "auto" and there is none.

    resume: "auto" (the newest that is sound; a damaged one is named by `message`) or a path.
    Raises CheckpointError where there are checkpoints and none is sound, or the path is not.
    """
    if resume != "auto":
        return read_resume_point(Path(resume))
    problems = []
    for path in list_checkpoints(folder):
        try:
            found = read_resume_point(path)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            message(f"{problem}; taking {found.path.name} instead")
        return found
    if problems:
        listed = "\n".join(problems)
        raise CheckpointError(f"no checkpoint of {folder} can be used:\n{listed}")
    return None


def require_same_run(
    found: ResumePoint, *, framework: str, settings: Mapping[str, Any], data: str
) -> None:
    """Raise where resuming would not continue the run: ConfigError names the keys."""
    if found.framework != framework:
        raise CheckpointError(
            f"{found.path}: written by the run in {found.framework}, this one is in {framework}"
        )
    before, now = flatten(_as_read_now(found.settings)), flatten(settings)
    changed = [
        f"{key} was {json.dumps(before.get(key))} and is {json.dumps(now.get(key))}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key) and not _is_free(key)
    ]
    if not changed and found.data != data:
        changed = ["data.root holds other frames than the run began with"]
    if changed:
        raise ConfigError(
            f"{found.path} cannot be continued with changed settings: {'; '.join(changed)}. Set "
            "it back, or begin a new run with another output=FOLDER"
        )


def _as_read_now(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a checkpoint's settings with the defaults of keys that did not exist then."""
    try:
        return Settings.model_validate(settings).model_dump(mode="json")
    except ValidationError:
        return settings


def require_same_state(state: Mapping[str, np.ndarray], group: ProcessGroup) -> None:
    """Raise CheckpointError where the processes of a training do not hold the same arrays."""
    if not group.several:
        return
    own = {key: zlib.crc32(np.ascontiguousarray(array).tobytes()) for key, array in state.items()}
    every = group.gather(own)
    for rank, other in enumerate(every):
        wrong = sorted(key for key in {*other, *every[0]} if other.get(key) != every[0].get(key))
        if wrong:
            raise CheckpointError(
                f"process {rank} and process 0 hold different {wrong[0]} ({len(wrong)} tensors "
                "differ), so that no checkpoint was written: code of the net or of the optimizer "
                "changes them by what one process alone knows (its rank, its clock, an unseeded "
                "draw); resume from the checkpoint before, or train on one process"
            )


def _is_free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in FREE_KEYS)


def seal_of(manifest: Mapping[str, Any]) -> str:
    """Return the check sum of a manifest without its seal."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
