"""What old nets find no more: names of types in NumPy, addresses of weights in torchvision."""

import importlib.util
import re
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

OLD_OF_NUMPY = frozenset({"int", "float", "bool", "object", "str", "complex"})
OLD_OF_TORCHVISION = "torchvision.models.utils"  # until 0.12; it held one function of torch's
_NETS = re.compile(r"torchvision\.models\.[a-z0-9]+")
_WEIGHTS = re.compile(r'url="(https?://[^"]*/([^"/]+)-[0-9a-f]{8}\.pth)"')


def give_back() -> None:
    """Let this process have them again: `np.int` left NumPy in 1.24."""
    here = {"int": int, "float": float, "bool": bool, "object": object, "str": str}
    for name, kind in {**here, "complex": complex}.items():
        if name not in vars(np):
            setattr(np, name, kind)
    if not any(isinstance(one, _OfTorchvision) for one in sys.meta_path):
        sys.meta_path.insert(0, _OfTorchvision())
    found = importlib.util.find_spec("torchvision")
    if found is not None and not (Path(found.origin or "").parent / "models/utils.py").is_file():
        sys.modules.setdefault(OLD_OF_TORCHVISION, _Lent(OLD_OF_TORCHVISION))


def with_old_names(module: str, text: str) -> str:
    """Return the text of a file with `model_urls`, which torchvision's nets had until 0.13."""
    found = _WEIGHTS.findall(text) if _NETS.fullmatch(module) else []
    if not found or "model_urls" in re.findall(r"^\w+", text, re.MULTILINE):
        return text
    urls = "".join(f'    "{name}": "{url}",\n' for url, name in dict(found).items())
    return f"{text.rstrip()}\n\n\nmodel_urls = {{\n{urls}}}\n"


class _OfTorchvision(MetaPathFinder):
    """Lets torchvision's nets have their old names in a process that records nothing."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find a file of nets as Python does, and load it with its old names."""
        spec = PathFinder.find_spec(fullname, path, target) if _NETS.fullmatch(fullname) else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _WithOldNames(fullname, spec.loader.path)
        return spec


class _WithOldNames(SourceFileLoader):
    def get_code(self, fullname: str) -> Any:
        """Return the compiled file."""
        text = with_old_names(fullname, self.get_source(fullname) or "")
        return compile(text, self.path, "exec", dont_inherit=True)


class _Lent(ModuleType):
    """Holds `load_state_dict_from_url`, which torch.hub has."""

    def __getattr__(self, name: str) -> Any:
        if name != "load_state_dict_from_url":
            raise AttributeError(name)
        return getattr(sys.modules["torch.hub"], name)
