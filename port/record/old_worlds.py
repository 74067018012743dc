"""What old nets find no more: NumPy's names of Python's types, a module of torchvision's."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

OLD_OF_NUMPY = frozenset({"int", "float", "bool", "object", "str", "complex"})
OLD_OF_TORCHVISION = "torchvision.models.utils"  # until 0.12; it held one function of torch's


def give_back() -> None:
    """Let this process have them again: `np.int` left NumPy in 1.24."""
    here = {"int": int, "float": float, "bool": bool, "object": object, "str": str}
    for name, kind in {**here, "complex": complex}.items():
        if name not in vars(np):
            setattr(np, name, kind)
    found = importlib.util.find_spec("torchvision")
    if found is not None and not (Path(found.origin or "").parent / "models/utils.py").is_file():
        sys.modules.setdefault(OLD_OF_TORCHVISION, _Lent(OLD_OF_TORCHVISION))


class _Lent(ModuleType):
    """Holds `load_state_dict_from_url`, which torch.hub has."""

    def __getattr__(self, name: str) -> Any:
        if name != "load_state_dict_from_url":
            raise AttributeError(name)
        return getattr(sys.modules["torch.hub"], name)
