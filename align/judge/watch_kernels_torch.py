"""Watches which functions of torch run whose kernels Paddle computes less exactly."""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from align.arrays.arguments import bind
from align.arrays.arrays_torch import is_tensor
from align.arrays.trees import leaves, map_leaves
from align.judge.kernel_errors_torch import Errors
from align.judge.kernel_names import ADDITIONS, ARGUMENTS, NAMES
from align.judge.kernels import KERNELS, Kernel

# They give code the memory of a tensor without its counter of writes.
ESCAPES = (
    torch.Tensor.data.__get__,  # type: ignore[attr-defined]  # the stubs say: a tensor
    torch.Tensor.numpy,
    torch.Tensor.__array__,
)


class WatchKernels(TorchFunctionMode):
    """Tells `called(row)` of every call of a function of the table; with `errors` it errs.

    `escaped(tensor)` is told of every tensor whose memory code reaches past the counter of writes,
    `also(name, arguments, keywords, result)` of every call of a function by one of `names`.
    """

    def __init__(
        self,
        called: Callable[[Kernel], None],
        errors: Errors | None = None,
        escaped: Callable[[torch.Tensor], None] | None = None,
        names: Collection[str] = (),
        also: Callable[[str, tuple, dict[str, Any], Any], None] | None = None,
    ) -> None:
        super().__init__()
        self.called = called
        self.errors = errors
        self.escaped = escaped
        self.names = names
        self.also = also
        self.function = ""  # the one that is running
        self.rows = {kernel.function: kernel for kernel in KERNELS}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.escaped is not None and func in ESCAPES:
            self.escaped(args[0])
        name = getattr(func, "__name__", "")
        word = name.strip("_")
        if self.also is not None and word in self.names:
            result = func(*args, **kwargs)
            self.also(word, args, kwargs, result)
            return result
        kernel = self.rows.get(NAMES.get(word, word))
        source = None if kernel is None or self.errors is None else _written(func, args, kwargs)
        if source is None:
            return self._run(name, kernel, func, (args, kwargs), (args, kwargs))
        # What errs runs a second time, so both work on copies: `source` is written into once.
        copies = (
            map_leaves((args, kwargs), lambda v: source.clone() if v is source else v)
            for _ in range(2)
        )
        return source.copy_(self._run(name, kernel, func, *copies))

    def _run(self, name: str, kernel: Kernel | None, func: Any, first: Any, again: Any) -> Any:
        """Call `func` with the arguments `first`, and if it is to err, with those of `again`."""
        args, kwargs = first
        self.function = name
        try:
            result = func(*args, **kwargs)
        finally:
            self.function = ""
        if kernel is None or not _is_floating(result):
            return result
        source = next(leaf for leaf in leaves((args, kwargs)) if is_tensor(leaf))
        settings = settings_of(func, args, kwargs)
        settings["complex"] = result.is_complex()
        if kernel.function in ADDITIONS and result.numel():
            settings["largest"] = float(result.detach().abs().max())
        errors = kernel.errors(tuple(source.shape[2:]), tuple(result.shape[2:]), settings)
        if errors == (0.0, 0.0):
            return result
        self.called(kernel)
        if self.errors is None:
            return result
        return self.errors.call(kernel, errors, func, again[0], again[1], result)


def settings_of(func: Any, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by name, and its plain numbers as "numbers"."""
    bound = bind(func, args, kwargs)
    name = getattr(func, "__name__", "").strip("_")
    known = dict(zip(ARGUMENTS.get(name, ()), args, strict=False))
    settings = {**known, **kwargs} if bound is None else dict(bound.arguments)
    settings["numbers"] = [n for n in leaves((args, kwargs)) if type(n) in (int, float)]
    return settings


def _is_floating(value: Any) -> bool:
    return is_tensor(value) and (value.is_floating_point() or value.is_complex())


def _written(func: Any, args: tuple, kwargs: dict[str, Any]) -> torch.Tensor | None:
    """Return the first tensor that a function is given, if it writes into it."""
    bound = bind(func, args, kwargs)
    inplace = bound is not None and bound.arguments.get("inplace") is True
    name = getattr(func, "__name__", "")
    if not inplace and (not name.endswith("_") or name.endswith("__")):
        return None
    return next((leaf for leaf in leaves((args, kwargs)) if is_tensor(leaf)), None)
