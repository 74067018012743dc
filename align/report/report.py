"""What a stage found: every comparison with its numbers, the divergences, one verdict."""

import math
import os
from collections.abc import Container
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from align.judge.comparison import DIFFERS, NOISE, UNCHECKED, Comparison
from align.judge.where import Where
from align.judge.words import OPTIMIZER, ROOT, SCHEDULE, Cause, Words, first_of, kinds_of
from align.report.parts import SCHEMA_VERSION
from common.documents import STRICT, plain, without_defaults, write_json
from common.environment import environment

ALIGNED, NOT_ALIGNED, COULD_NOT_CHECK = 0, 1, 2


@dataclass(frozen=True)
class Divergence:
    """One difference, blamed on the innermost code that explains it.

    Attributes:
        layer: path in the port whose own code differs, "" for the root.
        where: output:i, input:i (seen at the layer named by `call`), weight:name, buffer:name,
            attribute:name or calls.
        relative_error: largest difference / largest magnitude of the reference's tensor.
        floor: what rounding explains, in the same measure.
        worst_index: position of the largest difference in the tensor.
        step: training step, counted from 0; None outside training.
        cause: what explains it, where that is known.
        torch_source, paddle_source: file:line of the two sides' code: of a framework's layer the
            user's code around it.
    """

    __pydantic_config__: ClassVar = STRICT

    layer: str
    where: str
    relative_error: float
    floor: float
    worst_index: tuple[int, ...] | None = None
    step: int | None = None
    cause: Cause | None = None
    call: str = ""
    torch_source: str | None = None
    paddle_source: str | None = None

    @property
    def words(self) -> Words:
        """Say it in one line; the step where it is not the first."""
        where: Words | str = self.where
        layer = subject(self)
        if layer != self.layer:
            where = Words("of_layer", where=where, layer=self.layer or ROOT)
        if Where.of(self.where).kind == "input" and self.call:
            where = Words("seen_at", where=where, call=self.call)
        if self.step:
            where = Words("seen_in_step", where=where, step=self.step)
        return Words("found", layer=layer or ROOT, where=where, how=how_far(self))

    def __str__(self) -> str:
        """Say it in one line."""
        return str(self.words)


# What an optimizer makes of a layer in a training step.
_UPDATES = frozenset(("weight", "slot", "lr", "setting"))
# Causes that say what a slot lacks: they follow from another one beside them.
_OF_SLOTS = frozenset(("slot_of_port", "slot_of_reference", "no_such_slot"))


def subject(found: Divergence | Comparison) -> str:
    """Return what is to be mended: the layer, or the optimizer that moved its weights in a step."""
    updated = found.step is not None and Where.of(found.where).kind in _UPDATES
    return OPTIMIZER if updated else found.layer


def part_of_recipe(found: Comparison, known: Container[str]) -> str:
    """Return what sets what differs: the schedule where all rates are off alike, if it is known."""
    alike = Where.of(found.where).kind == "lr" and found.layer == OPTIMIZER
    return SCHEDULE if alike and SCHEDULE in known else OPTIMIZER


def reason(found: Divergence | Comparison) -> Words:
    """Return the cause of what an optimizer did, the same for weights and slots; "" for none."""
    said = Words.told(found.cause or "")
    while said.kind == "also" and said.values["first"].kind in _OF_SLOTS:
        said = said.values["second"]
    return said


def how_far(found: Divergence | Comparison, indexed: bool = True) -> Words:
    """Say by how much something is off, and why; the cause alone where no number says it.

    `indexed`: say at which element it is most.
    """
    cause = Words.told(found.cause) if found.cause else None
    if cause and math.isinf(found.relative_error):
        return cause
    off: dict[str, Any] = {"error": found.relative_error, "floor": found.floor}
    if indexed and found.worst_index is not None:
        said = Words("off_by_at", index=list(found.worst_index), **off)
    else:
        said = Words("off_by", **off)
    return Words("off_because", off=said, cause=cause) if cause else said


@dataclass
class Layer:
    """One matched layer, as a reader of the report needs it.

    Attributes:
        reference: its path in the reference.
        torch_class, paddle_class: names of the two classes.
        torch_source, paddle_source: file:line of the code that each runs when called; of a
            framework's container the user's code around it.
        attributes: static attributes in torch's words -> [reference's value, port's value].
        parameters: number of values in the port's own parameters.
    """

    __pydantic_config__: ClassVar = STRICT

    reference: str
    torch_class: str = ""
    paddle_class: str = ""
    torch_source: str | None = None
    paddle_source: str | None = None
    attributes: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    parameters: int = 0


@dataclass
class Report:
    """The result of one stage of alignment.

    Attributes:
        stage: "weights", "forward", "loss", ...
        calls: every comparison that was made.
        divergences: what differs, in the order of the reference's run.
        notes: known differences of the frameworks and layers judged as glue, in words.
        settings: what was run: mode, dtype, shapes, seed.
        layers: {path in the port: what is known of the layer}.
        environment: versions, machine, start; commands add the command line and the seconds.
    """

    __pydantic_config__: ClassVar = STRICT

    stage: str
    calls: list[Comparison] = field(default_factory=list)
    divergences: list[Divergence] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=environment)

    @property
    def exit_code(self) -> int:
        """0 aligned, 1 not aligned, 2 could not check (nothing was compared, or not all)."""
        if self.divergences or any(call.verdict == DIFFERS for call in self.calls):
            return NOT_ALIGNED
        if self.unchecked or not any(call.verdict != NOISE for call in self.calls):
            return COULD_NOT_CHECK
        return ALIGNED

    @property
    def aligned(self) -> bool:
        """True where everything was checked and nothing differs."""
        return self.exit_code == ALIGNED

    @property
    def unchecked(self) -> list[Comparison]:
        """The comparisons that could not be judged."""
        return [call for call in self.calls if call.verdict == UNCHECKED]

    @property
    def noise(self) -> list[Comparison]:
        """The comparisons in which rounding leaves nothing to compare."""
        return [call for call in self.calls if call.verdict == NOISE]

    @property
    def worst(self) -> Comparison | None:
        """The comparison with the largest error that was judged."""
        judged = [call for call in self.calls if call.verdict not in (NOISE, UNCHECKED)]
        return max(judged, key=lambda call: call.severity, default=None)

    @property
    def verdict(self) -> Words:
        """Say the result in one line."""
        worst = self.worst
        if self.exit_code == NOT_ALIGNED:
            wrong = [call for call in self.calls if call.verdict == DIFFERS]
            found = self.divergences or wrong
            layers = list(dict.fromkeys(subject(one) or ROOT for one in found))
            reasons = {reason(one) for one in found}
            if layers == [OPTIMIZER] and len(reasons) == 1 and all(reasons):
                return Words("not_aligned_because", place=OPTIMIZER, cause=reasons.pop())
            return Words("not_aligned", layers=first_of(layers, 8))
        if self.exit_code == COULD_NOT_CHECK:
            if not self.unchecked:
                if self.noise:
                    return Words("only_noise", count=len(self.noise))
                return Words("nothing_compared")
            first, count = self.unchecked[0], len(self.unchecked)
            return Words("unchecked", count=count, place=_place(first), cause=first.cause)
        assert worst is not None
        count = len(self.calls) - len(self.noise)
        figures = {"error": worst.relative_error, "floor": worst.floor, "place": _place(worst)}
        said = Words("aligned", count=count, **figures)
        if not worst.relative_error:
            said = Words("aligned_exactly", count=count)
        if not self.noise:
            return said
        kind = "aligned_but_few_values" if self.stage == "init" else "aligned_but_noise"
        return Words(kind, aligned=said, noise=len(self.noise))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data (docs/report_json.md).

        Infinities become the text "inf"; of calls and layers, what says nothing is left out.
        """
        document = plain(
            {
                "schema": SCHEMA_VERSION,
                "kind": "report",
                "stage": self.stage,
                "aligned": self.aligned,
                "exit_code": self.exit_code,
                "verdict": self.verdict,
                "settings": self.settings,
                "environment": self.environment,
                "notes": self.notes,
                "divergences": [asdict(divergence) for divergence in self.divergences],
                "layers": {path: without_defaults(layer) for path, layer in self.layers.items()},
                "calls": [without_defaults(call) for call in self.calls],
            }
        )
        said = [*self.notes, *(call.cause for call in self.calls), self.verdict]
        kinds = kinds_of([*said, *(divergence.cause for divergence in self.divergences)])
        return {**document, "words": kinds} if kinds else document

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write the report to `path`, whole or not at all."""
        write_json(Path(path), self.to_dict())


def _place(call: Comparison) -> str:
    return f"{call.layer or '(root)'} {call.where}"
