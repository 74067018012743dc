"""The step at which a training stopped being finite, as a folder that can be run again.

runs/NAME/nan/iteration_00000004/step.json           what it was, and check sums
                                 batches.safetensors image_0, label_0, ... of its micro-batches;
                                                     target_0.NAME where a target has several
                                 state.safetensors   weights, buffers and slots before the update

Weights and slots are those that the step began with. Buffers stand as its forward pass left them.
"""

import hashlib
import json
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from typing_extensions import TypedDict

from common.data import Batch
from common.data.batch import arrays_of
from common.documents import checked, json_in
from common.errors import UnreadableError
from common.files import require_file, sha256_of, whole_folder
from common.places import is_users, loaded_modules
from common.training.parts import parts_of, require_parts

FORMAT = 2
ABOUT, BATCHES, STATE = "step.json", "batches.safetensors", "state.safetensors"


@dataclass
class SavedStep:
    """A step of a run.

    Attributes:
        framework, version, device: of the run.
        iteration: updates that were made before it.
        lr, seed: the rate of the step, and what the framework's generator was seeded with.
        losses: the terms of the loss and "loss", as they were.
        images: files, or numbers, of its images, micro-batch by micro-batch.
        settings: of the run, as plain values.
        batches: its micro-batches.
        state: as `Side.state` gave it.
        folders: where the run found modules of the user's own.
        code: {file of the user's own code: SHA-256}, to tell whether it was changed since.
    """

    framework: str
    version: str
    device: str
    iteration: int
    lr: float
    seed: int
    losses: dict[str, float]
    images: list[list[str]]
    settings: dict[str, Any]
    batches: list[Batch] = field(default_factory=list)
    state: dict[str, np.ndarray] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    code: dict[str, str] = field(default_factory=dict)

    @property
    def compiled(self) -> bool:
        """Whether the run computed with a compiled net."""
        train = self.settings.get("train")
        return isinstance(train, Mapping) and bool(train.get("compile"))

    @property
    def changed(self) -> list[str]:
        """Files of the user's code that are not what they were in the run."""
        return [
            name
            for name, digest in self.code.items()
            if not Path(name).is_file() or sha256_of(Path(name)) != digest
        ]


class _About(TypedDict):
    """What `step.json` holds."""

    framework: str
    version: str
    device: str
    iteration: Annotated[int, Field(ge=0)]
    lr: float
    seed: int
    images: list[list[str]]
    settings: dict[str, Any]
    losses: dict[str, str]
    folders: list[str]
    code: dict[str, str]
    sha256: dict[str, str]
    held: dict[str, int]


def write_step(folder: Path, step: SavedStep) -> Path:
    """Write a step below `folder`, whole or not at all; return its own folder.

    Raises UserError where it cannot be written.
    """
    contents = {BATCHES: _bytes(_named(step.batches)), STATE: _bytes(step.state.items())}
    about = {
        "format": FORMAT,
        **{name: getattr(step, name) for name in _PLAIN},
        "losses": {name: repr(float(value)) for name, value in step.losses.items()},
        "folders": users_folders(),
        "code": users_code(),
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        "held": parts_of(step.state),
    }
    path = folder / f"iteration_{step.iteration + 1:08d}"
    with whole_folder(path) as draft:
        for name, content in contents.items():
            (draft / name).write_bytes(content)
        (draft / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return path


_PLAIN = ("framework", "version", "device", "iteration", "lr", "seed", "images", "settings")


def read_step(folder: Path) -> SavedStep:
    """Read what `write_step` wrote. Raises UnreadableError where it is absent or damaged."""
    if not (folder / ABOUT).is_file():
        raise UnreadableError(
            f"{folder}: holds no {ABOUT}; give the folder of a step that a training saved when its "
            "loss was not finite, such as runs/NAME/nan/iteration_00000004"
        )
    try:
        about = json_in(folder / ABOUT)
        if about["format"] != FORMAT:
            raise UnreadableError(f"{folder}: of format {about['format']!r:.40}, not {FORMAT}")
        about = checked(_About, about, what=f"{folder / ABOUT}")
        arrays = {name: _arrays(folder / name, about["sha256"][name]) for name in (BATCHES, STATE)}
        require_parts(arrays[STATE], about["held"], folder / STATE)
        step = SavedStep(
            **{name: about[name] for name in (*_PLAIN, "folders", "code")},
            losses={name: float(value) for name, value in about["losses"].items()},
            state=arrays[STATE],
        )
        step.batches = list(_batches(arrays[BATCHES]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError) as error:
        raise UnreadableError(f"{folder}: damaged: {type(error).__name__}: {error}") from None
    if not step.batches:
        raise UnreadableError(f"{folder}: {BATCHES} holds no batch")
    return step


def users_folders() -> list[str]:
    """Return the folders in which modules of the user's own are found."""
    theirs = [path or str(Path.cwd()) for path in sys.path]
    libraries = tuple(set(sysconfig.get_paths().values()))
    found = [path for path in theirs if Path(path).is_dir() and not path.startswith(libraries)]
    return list(dict.fromkeys(str(Path(path).resolve()) for path in found))


def users_code() -> dict[str, str]:
    """Return {file: SHA-256} of the modules of the user's own that are loaded."""
    files = {getattr(module, "__file__", None) for module in loaded_modules().values()}
    folders = tuple(f"{folder}/" for folder in users_folders())
    own = sorted(f for f in files if f and is_users(f) and f.startswith(folders))
    return {name: sha256_of(Path(name)) for name in own if Path(name).is_file()}


def _bytes(arrays: Iterable[tuple[str, np.ndarray]]) -> bytes:
    # Not ascontiguousarray: it gives an array without dimensions one.
    return bytes(save_arrays({name: np.asarray(array, order="C") for name, array in arrays}))


def _arrays(path: Path, digest: str) -> dict[str, np.ndarray]:
    content = require_file(path).read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"{path.name} does not match its check sum")
    arrays: dict[str, np.ndarray] = load_arrays(content)
    return arrays


def _named(batches: Sequence[Batch]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays of micro-batches, which is what their step computed with."""
    for number, batch in enumerate(batches):
        yield f"image_{number}", batch.image
        for name, array in arrays_of(batch.target).items():
            yield (f"target_{number}.{name}" if name else f"label_{number}"), array


def _batches(arrays: Mapping[str, np.ndarray]) -> Iterator[Batch]:
    for number in range(sum(name.startswith("image_") for name in arrays)):
        place = f"target_{number}."
        named = {
            name.removeprefix(place): array
            for name, array in arrays.items()
            if name.startswith(place)
        }
        yield Batch(arrays[f"image_{number}"], named or arrays[f"label_{number}"])


def told_images(images: Sequence[Sequence[str]], most: int = 6) -> str:
    """Return names of images in one line, the first `most` of them."""
    names = [name for batch in images for name in batch]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
