"""Imports files of the user's, and of libraries that build nets, with questions in them."""

import functools
import gc
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from port.record.facts import FileRecord
from port.record.files_read import FilesRead
from port.record.instrument import ASKED, instrumented
from port.record.recorder_torch import Asker, Phase
from port.record.stand_ins.old_worlds import with_old_names

_IMPORTS_TORCH = re.compile(rb"^\s*(?:import|from) torch\b", re.MULTILINE)
_PLACES = frozenset({"site-packages", "dist-packages"})  # where libraries are installed
_PYTHON = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))
# Not nets, or known to the table of meanings, or at home on both sides.
# fmt: off
_APART = frozenset({
    "torch", "paddle", "numpy", "einops", "triton", "torchgen", "functorch", "sympy",
    "networkx", "scipy", "PIL", "cv2", "yaml", "tqdm", "safetensors", "huggingface_hub",
    "pytest", "_pytest", "setuptools", "pkg_resources", "pydantic", "rich", "tensorboard",
    "tensorboardX", "matplotlib", "pandas", "sklearn", "skimage", "jinja2", "packaging",
    "onnx", "onnxruntime", "onnxscript", "onnx_ir", "polygraphy", "tensorrt",
})
# fmt: on
# What torch's layers hold beside tensors' own attributes.
# fmt: off
_OF_LAYERS = frozenset({
    "kernel_size", "stride", "padding", "dilation", "groups", "bias", "weight", "in_channels",
    "out_channels", "in_features", "out_features", "num_features", "eps", "momentum", "affine",
    "track_running_stats", "running_mean", "running_var", "num_batches_tracked", "p", "inplace",
    "num_parameters", "embedding_dim", "num_embeddings", "normalized_shape", "output_size",
    "scale_factor", "mode", "align_corners", "num_heads", "embed_dim", "batch_first",
    "padding_mode", "output_padding", "transposed", "negative_slope", "upscale_factor",
    "return_indices", "ceil_mode", "count_include_pad", "divisor_override", "downscale_factor",
    "alpha", "beta", "threshold", "start_dim", "end_dim", "min_val", "max_val",
    "num_groups", "num_channels", "padding_idx", "module",
    "in1_features", "in2_features", "elementwise_affine", "max_norm", "norm_type", "sparse",
    "scale_grad_by_freq", "init", "approximate", "value", "lambd", "recompute_scale_factor",
    "_modules", "_parameters", "_buffers", "training",
    "input_size", "hidden_size", "num_layers", "dropout", "bidirectional",
    "_all_weights", "all_weights", "_flat_weights", "_flat_weights_names",
})
# fmt: on
_OF_RESULTS = frozenset(
    {"solution", "residuals", "rank", "singular_values", "Q", "R", "U", "S", "Vh"}
)
_OF_PARTIALS = frozenset({"func", "keywords"})
_OF_TENSORS = frozenset(name for name in dir(torch.Tensor) if not name.startswith("__"))
ATTRIBUTES = _OF_TENSORS | _OF_LAYERS | _OF_RESULTS | {"__name__"} | _OF_PARTIALS


class Finder(MetaPathFinder):
    """Stands first among the finders; `apart` tells of a file that it is not to be ported."""

    def __init__(self, phase: Phase, apart: Callable[[Path], bool]) -> None:
        self.phase, self.apart = phase, apart
        self.files: dict[str, FileRecord] = {}
        self.read = FilesRead()

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module as Python does, and load it with questions where it is to be ported."""
        if fullname.partition(".")[0] in _APART:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or not isinstance(spec.loader, SourceFileLoader) or not spec.origin:
            return spec
        file = Path(spec.origin)
        if not self.apart(file) and (not is_library(file) or _names_torch(file)):
            spec.loader = _Loader(fullname, spec.origin, self)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, finder: Finder) -> None:
        super().__init__(fullname, path)
        self.finder = finder

    def get_code(self, fullname: str) -> Any:
        path = Path(self.get_filename(fullname))
        text = with_old_names(fullname, self.get_source(fullname) or "")
        with uncollected():
            tree, spans = instrumented(text, ATTRIBUTES)
            code = compile(tree, str(path), "exec", dont_inherit=True)
        package = path.name == "__init__.py"
        record = FileRecord(path, fullname, package, is_library(path))
        self.finder.files[fullname] = record
        self.asker = Asker(record, spans, self.finder.phase)
        return code

    def exec_module(self, module: ModuleType) -> None:
        code = self.get_code(module.__name__)
        setattr(module, ASKED, self.asker)
        with self.finder.phase.importing():
            exec(code, module.__dict__)


@contextmanager
def uncollected() -> Iterator[None]:
    """Let Python look for no garbage: a tree is many objects, none of it garbage, and soon gone."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def is_library(file: Path) -> bool:
    """Tell whether a file was installed, and is not the user's own."""
    return bool(_PLACES.intersection(file.parts))


def is_pythons(file: Path) -> bool:
    """Tell whether a file is Python's own."""
    return str(file).startswith(_PYTHON) and not is_library(file)


def _names_torch(file: Path) -> bool:
    """Tell whether a package of a library uses torch at all."""
    depth = max(n for n, part in enumerate(file.parts) if part in _PLACES)
    return _ask_package(Path(*file.parts[: depth + 2]))


@functools.cache
def _ask_package(package: Path) -> bool:
    files = _files_of(package) if package.is_dir() else iter((package,))
    return any(_IMPORTS_TORCH.search(_bytes_of(file)) for file in islice(files, 400))


def _files_of(package: Path) -> Iterator[Path]:
    """Yield the files of a package; folders that no import reaches hold thousands of settings."""
    for folder, below, names in os.walk(package):
        below[:] = sorted(name for name in below if name.isidentifier())
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py"))


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def installed(phase: Phase, apart: Callable[[Path], bool]) -> Finder:
    """Put a finder before the others, and return it."""
    finder = Finder(phase, apart)
    sys.meta_path.insert(0, finder)
    return finder
