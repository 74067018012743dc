"""What a new reproduction is to be: guessed from what is there, given by options, or asked."""

import argparse
import ast
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from commands.begin.guess import BASES, nets_in, parsed
from commands.subjects.misfits import CLASSES
from common.errors import UserError
from common.settings.data import DATASETS
from common.settings.own import OWN
from common.settings.panoptic import TAKES
from common.settings.recipe import AnyLoss, AnyOptimizer, AnySchedule
from common.settings.volumes import VOLUME
from common.words.language import said

CHECKPOINTS = (".pth", ".pt", ".tar", ".ckpt", ".bin", ".safetensors")
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how files of torch.save before 1.6 begin


def ours(kinds: Any) -> list[str]:
    """Return the names of our own kinds of a section that can stand alone in a new config."""
    found = [kind for kind in get_args(get_args(kinds)[0]) if "name" in kind.model_fields]
    needing = ("own", "in_optimizer", "warmup_poly", "plateau", VOLUME, *TAKES)
    names = [name for kind in found for name in get_args(kind.model_fields["name"].annotation)]
    return [name for name in names if name not in needing]


def of_labels() -> list[str]:
    """Return the data sets whose images have a label for every pixel."""
    return [name for name in DATASETS if name not in ("coco_instances", "volumes")]


@dataclass(frozen=True)
class Question:
    """One thing that a new reproduction needs to know.

    key: of the option, and of the answer. default: what is taken where nobody answers; None: that
    has to be said. choices: what it may be; empty: anything. read: text to value.
    """

    key: str
    text: str
    default: Any
    choices: Sequence[str] = ()
    read: Callable[[str], Any] = str


def _shape(text: str) -> list[int]:
    sizes = [int(word) for word in text.replace(",", " ").split()]
    if len(sizes) != 4 or min(sizes) < 1:
        raise ValueError(f"expected N C H W, four positive numbers, got {text}")
    return sizes


def questions(folder: Path) -> list[Question]:
    """Return all questions, with what `folder` says as their defaults."""
    files = checkpoints_in(folder)
    checkpoint = files[0] if len(files) == 1 else ""
    several = f"; here are {', '.join(files)}" if len(files) > 1 else ""
    found = {side: nets_in(folder, side) for side in BASES}
    nets = {side: f"net_{side}:build" for side in BASES}
    nets |= {side: here[0] for side, here in found.items() if len(here) == 1}
    listed = " or one of ours"
    return [
        Question("name", "name of the reproduction", folder.resolve().name),
        Question("classes", "number of classes", None, read=_positive),
        Question("torch", "the reference, MODULE:CALLABLE that returns it", nets["torch"]),
        Question("paddle", "the port, MODULE:CALLABLE that returns it", nets["paddle"]),
        Question("checkpoint", f"the authors' checkpoint (empty: none{several})", checkpoint),
        Question("input_shape", "input of the net, N C H W", [2, 3, 64, 64], read=_shape),
        Question("data", "data set: own" + listed, OWN, (OWN, *of_labels())),
        Question("loss", "loss: own" + listed, OWN, (OWN, *ours(AnyLoss))),
        Question("optimizer", "optimizer: own" + listed, OWN, (OWN, *ours(AnyOptimizer))),
        Question("schedule", "schedule: own" + listed, "poly", (OWN, *ours(AnySchedule))),
        Question("metric", "metric: own, or task (mIoU)", "task", (OWN, "task")),
        Question("augmentation", "augmentation: own, or none", "none", (OWN, "none")),
    ]


def checkpoints_in(folder: Path) -> list[str]:
    """Return the names of files that PyTorch saved, by their ending or by how they begin."""
    files = [path for path in sorted(folder.glob("*")) if path.is_file()]
    return [path.name for path in files if path.suffix in CHECKPOINTS or _is_torchs(path)]


def _is_torchs(path: Path) -> bool:
    """Tell whether `torch.save` wrote a file, whatever it is called; nothing of it is loaded."""
    try:
        with path.open("rb") as file:
            if file.read(len(LEGACY)) == LEGACY:
                return True
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _defined(path: Path) -> list[str]:
    """Return the names of the functions of a file, and of its classes that have `update`."""
    tree = parsed(path)
    body = tree.body if tree else []
    metrics = [
        node.name
        for node in body
        if isinstance(node, ast.ClassDef)
        and "update" in {getattr(n, "name", "") for n in node.body}
    ]
    return [node.name for node in body if isinstance(node, ast.FunctionDef)] + metrics


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError(f"expected a positive number, got {text}")
    return int(text)


def answers_of(
    options: argparse.Namespace, folder: Path, ask: Callable[[str], str] | None
) -> dict[str, Any]:
    """Return every answer: of an option, else asked where `ask` can, else the default.

    Raises UserError for an answer that cannot be, and where nobody says what has no default.
    """
    found: dict[str, Any] = {}
    for question in questions(folder):
        option = f"--{question.key.replace('_', '-')}"
        text = getattr(options, question.key)
        if text is None and ask is not None:
            shown = question.default
            shown = " ".join(map(str, shown)) if isinstance(shown, list) else shown
            text = (
                ask(f"{said(question.text)}{'' if shown is None else f' [{shown}]'}: ").strip()
                or None
            )
        if text is None and question.default is None:
            raise UserError(f"{option} is not given, and cannot be guessed: {question.text}")
        found[question.key] = question.default if text is None else _read(question, text, option)
    found["checkpoints"] = checkpoints_in(folder)
    found["nets"] = {side: nets_in(folder, side) for side in BASES}
    found["there"] = {side: _defined(folder / f"recipe_{side}.py") for side in BASES}
    found["takes"] = {side: classes_argument(folder, found[side]) for side in BASES}
    return found


def _read(question: Question, text: str, option: str) -> Any:
    try:
        value = question.read(text)
    except ValueError as error:
        raise UserError(f"{option} {text}: {error}") from None
    if question.choices and value not in question.choices:
        raise UserError(f"{option} {text}: choose one of {', '.join(question.choices)}")
    return value


def classes_argument(folder: Path, spec: str) -> str:
    """Return by which name a callable takes the number of classes, "" for none."""
    module, _, name = spec.partition(":")
    path = folder / f"{module.replace('.', '/')}.py"
    if not path.is_file():
        return "classes" if name == "build" else ""
    tree = parsed(path)
    for node in ast.walk(tree) if tree else ():
        if getattr(node, "name", None) != name:
            continue
        inside = [n for n in getattr(node, "body", []) if getattr(n, "name", "") == "__init__"]
        arguments = getattr((inside or [node])[0], "args", None)
        taken = [a.arg for a in (*arguments.args, *arguments.kwonlyargs)] if arguments else []
        return next((known for known in CLASSES if known in taken), "")
    return ""
