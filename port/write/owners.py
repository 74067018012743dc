"""Whose a name is, and of which classes an attribute is selected: of torch, of NumPy, of others."""

from port.record.facts import Binding, Facts
from port.record.old_worlds import OLD_OF_NUMPY


def is_numpys_old(bound: Binding | None) -> bool:
    """Tell whether a name is one that NumPy had for a type of Python's: `np.int`."""
    whole = "" if bound is None else bound.value
    return whole.startswith("numpy.") and whole.removeprefix("numpy.") in OLD_OF_NUMPY


def is_torchs(bound: Binding) -> bool:
    """Tell whether a name stands for torch or something in it."""
    return bound.kind == "torch" or (
        bound.kind == "module" and bound.value.partition(".")[0] == "torch"
    )


def owner_names(facts: Facts) -> tuple[str, ...]:
    """Return the names of torch's class that an attribute is selected from.

    A tuple has some where a function of torch gives its parts names.
    """
    if facts.kind == "tensor":
        return ("tensor",)
    if facts.kind == "size":
        return ("size",)
    return facts.names if facts.kind in ("module", "tuple") else ()
