"""Which calls another spelling could mend: those in the code that a finding blames."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from align.judge.where import GRADIENTS, Where
from commands.port.prove import Climb
from port.port import Port, WrittenFile
from port.write.gaps import SpellingChoice

FORWARD = frozenset(("eval", "train"))  # rungs that see no gradient
_LAYER = "torch.nn."
_COMPUTED = GRADIENTS | {"input", "output", "loss", "weight"}  # what a call's spelling can change
_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class SpellingTrial:
    """Calls of one API in one class or function, and the number of the spelling to give them."""

    choices: tuple[SpellingChoice, ...]
    number: int

    @property
    def spelled(self) -> dict[SpellingChoice, int]:
        """Return the spellings as a port is written with them."""
        return dict.fromkeys(self.choices, self.number)


@dataclass
class _Blamed:
    """Code that findings blame: places of the port, and layers of the framework by class.

    anywhere: a finding names no place of the port's.
    """

    places: list[tuple[str, int]] = field(default_factory=list)
    layers: set[str] = field(default_factory=set)
    anywhere: bool = False


def trials(port: Port, climb: Climb) -> list[SpellingTrial]:
    """Return what may close a finding of a rung, the blamed code itself before what it calls."""
    code = _Code(port.files)
    blamed = _blamed(code, climb)
    reached = code.reached(blamed.places)
    found: dict[tuple[int, str, str, str], list[SpellingChoice]] = {}
    for file in port.files:
        for choice in file.needs.choices:
            where = file.path, choice.inside
            if choice.api.startswith(_LAYER) and choice.api.rpartition(".")[2][:1].isupper():
                rank = 0 if choice.api.rpartition(".")[2] in blamed.layers else None
            else:
                rank = reached.get(where, 0 if blamed.anywhere else None)
            if rank is not None:
                found.setdefault((rank, *where, choice.api), []).append(choice)
    return [
        SpellingTrial(tuple(choices), number)
        for _, choices in sorted(found.items(), key=lambda item: item[0][0])
        for number in range(1, choices[0].count + 1)
        if climb.name not in FORWARD or number not in choices[0].backward
    ]


def _blamed(code: "_Code", climb: Climb) -> _Blamed:
    report, blamed = climb.report, _Blamed()
    for found in [] if report is None else report.divergences:
        if Where.of(found.where).kind not in _COMPUTED:
            continue
        layer = report.layers.get(found.layer)
        if layer is not None and code.place(layer.paddle_source) is None:
            blamed.layers.add(layer.torch_class)  # one of the framework's runs no code of the port
        elif (place := code.place(found.paddle_source)) is not None:
            blamed.places.append(place)
        else:
            blamed.anywhere = True
    return blamed


class _Code:
    """The classes and functions of a port, and which of them one runs through."""

    def __init__(self, files: Sequence[WrittenFile]) -> None:
        self.files = files

    def place(self, source: Any) -> tuple[str, int] | None:
        """Return (path inside the port, line) of a `file:line`; None outside of the port."""
        path, _, line = (source or "").rpartition(":")
        inside = [file.path for file in self.files if path.endswith(f"/{file.path}")]
        return (max(inside, key=len), int(line)) if inside and line.isdigit() else None

    def reached(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, str], int]:
        """Return {(path, name): steps} of what is written around places, and of what that calls.

        A class is followed to its bases alone: the layers that it holds are judged by themselves.
        """
        steps: dict[tuple[str, str], int] = {}
        now = [
            (path, node)
            for path, node in self._definitions
            if any(path == file and _around(node, line) for file, line in places)
        ]
        while now:
            for path, node in now:
                steps.setdefault((path, node.name), len(steps))
            called = {name for _, node in now for name in _names(node)}
            bases = {name for _, node in now for name in _bases(node)}
            now = [
                (path, node)
                for path, node in self._definitions
                if (path, node.name) not in steps
                and node.name in (bases if isinstance(node, ast.ClassDef) else called)
            ]
        return steps

    @cached_property
    def _definitions(self) -> list[tuple[str, _Definition]]:
        return [
            (file.path, node)
            for file in self.files
            for node in ast.parse(file.text).body
            if isinstance(node, _Definition)
        ]


def _around(node: _Definition, line: int) -> bool:
    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
    return first <= line <= (node.end_lineno or first)


def _names(node: _Definition) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr


def _bases(node: _Definition) -> Iterator[str]:
    for base in node.bases if isinstance(node, ast.ClassDef) else ():
        yield ast.unparse(base).rpartition(".")[2]
