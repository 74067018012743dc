"""Which tensors of a net are its head: those whose shapes follow the number of classes."""

from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import ConversionError
from common.pairs import get_pair
from convert.names.spec import TORCH, TensorSpec
from convert.nets.rows import describe_row, shapes_of

Shapes = Mapping[str, tuple[int, ...]]


def head_of_row(row: str, options: Mapping[str, Any], framework: str, classes: int) -> Shapes:
    """Return {tensor: its shape with `classes` classes} of the head of row `row`.

    options: of its factory. The head is what is of another shape with one class more, built in
    `framework` ("torch" or "paddle").
    """
    counts = (classes, classes + 1)
    built = [{**options, get_pair(row).classes_option: count} for count in counts]
    if framework == TORCH:
        here, more = (shapes_of(row, each) for each in built)
    else:
        here, more = ({s.key: s.shape for s in describe_row(row, each)} for each in built)
    return {key: shape for key, shape in here.items() if more[key] != shape}


def head_by_shapes(target: Sequence[TensorSpec], file: Shapes, classes: int) -> Shapes:
    """Return {tensor: its shape in the file} of the head of a net that nobody can build anew.

    Args:
        target: tensors of the net, of `classes` classes.
        file: shapes of what would fill them, in the net's layout, by the net's names.

    Raises:
        ConversionError: no tensor has another number of classes in the file, or they have several.
    """
    found = {
        spec.key: file[spec.key]
        for spec in target
        if spec.key in file and _differs_in(classes, spec.shape, file[spec.key])
    }
    counts = {
        theirs
        for spec in target
        if spec.key in found
        for ours, theirs in zip(spec.shape, found[spec.key], strict=True)
        if ours != theirs
    }
    if len(counts) != 1:
        got = f"several: {sorted(counts)}" if counts else "no tensor that differs in it alone"
        raise ConversionError(
            f"weights.new_head: expected a head of another number of classes than {classes} in the "
            f"file, got {got}"
        )
    return found


def _differs_in(classes: int, ours: tuple[int, ...], theirs: tuple[int, ...]) -> bool:
    """Tell whether two shapes differ, and where they do ours is the number of classes."""
    if len(ours) != len(theirs) or ours == theirs:
        return False
    return all(one in (other, classes) for one, other in zip(ours, theirs, strict=True))
