"""Names of Python's own types that NumPy took back in 1.24: old nets say `np.int`."""

import numpy as np

OLD_OF_NUMPY = frozenset({"int", "float", "bool", "object", "str", "complex"})


def give_back() -> None:
    """Let NumPy have them again in this process."""
    here = {"int": int, "float": float, "bool": bool, "object": object, "str": str}
    for name, kind in {**here, "complex": complex}.items():
        if name not in vars(np):
            setattr(np, name, kind)
