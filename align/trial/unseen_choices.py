"""Tensors that hang on a choice which nobody sees: they differ, and nobody can tell if they should.

A sort or a comparison by functions of both frameworks is judged itself (`align.force.choices`).
One in NumPy, or in a kernel, is not seen. Where the reference itself comes to another list, or
to other whole numbers, when all moves in its last places, a difference is no proof of a fault.
"""

from typing import Any

from align.judge.compare import NOTHING_LEFT
from align.judge.comparison import DIFFERS, UNCHECKED, Comparison
from align.judge.words import ROOT, Cause, Words
from align.nets.asked import ASSIGNMENT
from align.record.choices.choice import MOST_CHOICES
from align.record.trace import CallPlace
from align.trial.findings import Findings


def choices_left_out(found: Findings) -> list[Comparison]:
    """Return what could not be checked of steps that the recording has no room for.

    Where there are too many it is said of each module; of large ones a note is enough: what comes
    of them was compared.
    """
    ports = {path: port for port, path in found.judged.partners.items()}
    left = found.trace.choices_left
    large = [path for path, why in left.items() if why == "large"]
    if large:
        found.notes.append(Words("choices_large", count=len(large), path=large[0] or ROOT))
    many = {_port_of(path, ports) for path, why in left.items() if why == "many"}
    cause = Cause("choices_left_out", count=MOST_CHOICES)
    return [
        Comparison(port, "", f"choice:{MOST_CHOICES}", "glue", verdict=UNCHECKED, cause=cause)
        for port in sorted(many)
    ]


def _port_of(path: str, ports: dict[str, str]) -> str:
    """Return the port's layer that stands for the module `path`, or for the nearest around it."""
    while path and path not in ports:
        path = path.rpartition(".")[0]
    return ports.get(path, "")


def doubt_unseen_choices(found: Findings, net: Any, run: Any) -> None:
    """Turn what differs into could not check where the reference's own choice is unstable.

    net: the reference, prepared; `run` is how it was run.
    """
    from align.rounding.other_choices_torch import chosen_otherwise

    wrong = [c for c in found.comparisons if c.verdict == DIFFERS and _is_open(c)]
    unpaired = len(found.trace.choices) > len(found.chosen) or bool(found.trace.choices_left)
    if not wrong or not (unpaired or any(map(_is_listed, wrong))):
        return
    places = {_place(c) for c in wrong if _is_listed(c) or c.relative_error > NOTHING_LEFT}
    judged = set(found.judged.reference_group)
    moved = chosen_otherwise(net, found.trace, run, judged, found.chosen, places)
    unstable = {c.layer for c in wrong if _place(c) in moved}
    for c in found.comparisons:
        gradient = c.at.is_gradient and c.layer in unstable
        if c.verdict == DIFFERS and (gradient or _place(c) in moved):
            unseen = Cause("choice_unseen")
            c.verdict, c.cause = UNCHECKED, c.cause.also(unseen) if c.cause else unseen


def _is_open(comparison: Comparison) -> bool:
    """Tell whether a value differs, and no step was seen to do another thing.

    What a criterion offers as its assignment is judged by all that the reference may assign.
    """
    known = comparison.cause is not None and comparison.cause.has("other_number", "other_count")
    offered = comparison.layer == ASSIGNMENT
    return comparison.at.kind in ("input", "output") and not (known or offered)


def _is_listed(comparison: Comparison) -> bool:
    """Tell whether a list is of another length or order, or whole numbers are others."""
    cause = comparison.cause
    return cause is not None and cause.has("shape", "values_differ", "row_moved")


def _place(comparison: Comparison) -> CallPlace:
    path, _, index = comparison.call.rpartition("#")
    return path, int(index or 0), comparison.where
