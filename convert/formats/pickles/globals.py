"""What a pickle may ask for, and what becomes of it here.

Nothing that a pickle names is ever imported. Three kinds of names exist: those that make tensors,
arrays and plain values (`_CALLS`; functions of this file), those of classes that are harmless to
leave as the state they were saved with (`Inert`), and all others, which are refused by name.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from convert.formats.stored import DamagedError, Storage, Stored, contiguous, dtype_named

# torch/storage.py, `_dtype_to_storage_type_map`; UntypedStorage counts bytes.
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "BFloat16Storage": "bfloat16",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "UntypedStorage": "uint8",
}
# What quantised tensors lie in; they are named in words and never read.
_QUANTISED_STORAGES = {
    "QInt8Storage": "int8",
    "QUInt8Storage": "uint8",
    "QInt32Storage": "int32",
    "QUInt4x2Storage": "uint8",
    "QUInt2x4Storage": "uint8",
}
_DTYPES = {
    "float": "float32",
    "double": "float64",
    "half": "float16",
    "long": "int64",
    "int": "int32",
    "short": "int16",
    **{name: name for name in ("float16", "float32", "float64", "bfloat16", "bool")},
    **{name: name for name in ("complex64", "complex128", "uint8", "uint16", "uint32", "uint64")},
    **{name: name for name in ("int8", "int16", "int32", "int64", "float8_e8m0fnu")},
    **{f"float8_{end}": f"float8_{end}" for end in ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz")},
}
# Classes kept as their state. A name ending in a dot stands for all below it.
_INERT = (
    *("argparse.Namespace", "types.SimpleNamespace", "datetime.", "pathlib.", "decimal.Decimal"),
    *("uuid.UUID", "fractions.Fraction", "collections.deque", "collections.Counter"),
    *("easydict.EasyDict", "yacs.config.CfgNode", "addict.addict.Dict", "omegaconf."),
    *("mmcv.utils.config.", "mmengine.config.config.", "mmengine.logging.history_buffer."),
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
    *("numpy.dtypes.", "torch.device", "torch.Size", "torch.layout", "torch.Generator"),
    *("torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"),
    *("torch.nn.Parameter", "torch.strided", "torch.per_tensor_affine", "torch.memory_format"),
    *(
        "torch.per_channel_affine",
        "torch.qint8",
        "torch.quint8",
        "torch.qint32",
        "torch.quint4x2",
        "torch.quint2x4",
        "torch.jit._pickle.",
    ),
    *("torch.contiguous_format", "torch.preserve_format", "torch.sparse_coo", "torch.sparse_csr"),
)
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg", "exceptions": "builtins"}
_NUMPY_KIND = re.compile(r"[<>=|]?([?]|b1|[iu][1248]|f[248]|c8|c16|[SUMmVO]\d*)")


class RefusedError(DamagedError):
    """A pickle asks for something that may run code.

    `name` is what it asks for, `place` the keys that lead there where the machine knows them.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"it asks for {name}")
        self.name = name
        self.place: tuple[str, ...] = ()


@dataclass(frozen=True)
class Global:
    """The name of a function or class; never the thing itself."""

    name: str

    @staticmethod
    def of(module: str, name: str) -> "Global":
        """Return the name in the spelling of this file's tables."""
        module = _RENAMED.get(module, module).replace("numpy._core", "numpy.core")
        return Global(f"{module}.{name}")


@dataclass(eq=False)
class Inert:
    """An object that was not made: the name of its class and the state it was saved with."""

    name: str
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Odd:
    """A tensor that is not plain and dense, in words."""

    what: str


class NumpyArray:
    """An array as NumPy pickles it: made empty, then given its state. `stored` is None before."""

    def __init__(self) -> None:
        self.stored: Stored | Odd | None = None


@dataclass
class NumpyType:
    """A dtype as NumPy pickles it: code, then byte order."""

    code: str
    order: Literal["<", ">"] = "<"


@dataclass(frozen=True)
class StorageOf:
    """A storage and the dtype that its class says; None where it counts bytes."""

    storage: Storage
    dtype: np.dtype[Any] | None


def refuse_unknown(found: Global, inert: tuple[str, ...] = ()) -> Global:
    """Return `found` where it is known; raises RefusedError otherwise."""
    name = found.name
    if name in _CALLS or dtype_of(found) or storage_dtype(found) or _is_inert(name, inert):
        return found
    raise RefusedError(name)


def _is_inert(name: str, more: tuple[str, ...]) -> bool:
    return any(name == i or (i.endswith(".") and name.startswith(i)) for i in (*_INERT, *more))


def storage_dtype(found: Any) -> str | None:
    """Return the dtype of a class of torch's storages, None for any other global."""
    if not isinstance(found, Global):
        return None
    match = re.fullmatch(r"torch\.(?:cuda\.|storage\.)?(\w+Storage)", found.name)
    return (STORAGES | _QUANTISED_STORAGES).get(match[1]) if match else None


def dtype_of(found: Any) -> str | None:
    """Return the name of a torch dtype, None for any other value."""
    if isinstance(found, Global) and found.name.startswith("torch."):
        return _DTYPES.get(found.name.removeprefix("torch."))
    return None


def call(target: Any, arguments: Any) -> Any:
    """Return what calling `target` stands for; raises DamagedError where it stands for nothing."""
    if not isinstance(target, Global) or type(arguments) is not tuple:
        raise DamagedError("its pickle calls something that is no global")
    if target.name in _CALLS:
        return _CALLS[target.name](*arguments)
    if dtype_of(target) or storage_dtype(target):
        raise DamagedError(f"its pickle calls {target.name}")
    return Inert(target.name)


def build(target: Any, state: Any) -> None:
    """Give `target` its state; raises DamagedError where it cannot have one."""
    if isinstance(target, Inert):
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            if isinstance(part, dict):
                target.state.update({k: v for k, v in part.items() if isinstance(k, str)})
    elif isinstance(target, NumpyArray):
        target.stored = _numpy_array(*state)
    elif isinstance(target, NumpyType):
        target.order = state[1] if state[1] in ("<", ">") else "<"
    elif not isinstance(target, (dict, list, set)):  # of a tensor: other values, in torch
        raise DamagedError("its pickle changes something that is no object")


# What makes tensors (torch/_utils.py).


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> "Stored | Odd":
    metadata = rest[2] if len(rest) > 2 else None
    return _strided(storage, offset, size, stride, None, metadata)


def _tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *rest: Any
) -> "Stored | Odd":
    return _strided(storage, offset, size, stride, dtype, rest[0] if rest else None)


def _strided(
    storage: Any, offset: Any, size: Any, stride: Any, dtype: Any, metadata: Any
) -> "Stored | Odd":
    if not isinstance(storage, StorageOf):
        raise DamagedError("its pickle makes a tensor without a storage")
    if metadata:
        return Odd("a conjugated or negated view")
    name = dtype_of(dtype)
    if dtype is not None and name is None:
        raise DamagedError("its pickle gives a tensor something that is no dtype")
    found = storage.dtype if name is None else dtype_named(name)
    if found is None:
        raise DamagedError("its pickle gives a tensor no dtype")
    return Stored(storage.storage, found, tuple(size), tuple(stride), offset)


def _inner(data: Any, *rest: Any) -> Any:
    return data


def _of_type(function: Any, kind: Any, arguments: Any, *rest: Any) -> Any:
    return call(function, arguments)


def _odd(what: str) -> Callable[..., Odd]:
    return lambda *arguments: Odd(what)


# What makes NumPy's arrays and scalars.


def _numpy_type(code: Any, *rest: Any) -> NumpyType:
    if isinstance(code, str) and _NUMPY_KIND.fullmatch(code):
        return NumpyType(code.lstrip("<>=|"))
    raise DamagedError("its pickle holds a NumPy dtype of an unknown kind")


def _plain_dtype(dtype: Any) -> np.dtype[Any] | None:
    """Return NumPy's dtype of numbers, None for objects, text and dates."""
    if not isinstance(dtype, NumpyType):
        raise DamagedError("its pickle gives an array something that is no dtype")
    if dtype.code[0] in "OSUMmV":
        return None
    return np.dtype(dtype.code).newbyteorder(dtype.order)


def _numpy_array(version: Any, shape: Any, dtype: Any, fortran: Any, data: Any) -> "Stored | Odd":
    return _array_of(data, dtype, shape, "F" if fortran else "C")


def _array_of(data: Any, dtype: Any, shape: Any, order: Any) -> "Stored | Odd":
    found = _plain_dtype(dtype)
    if found is None or not isinstance(data, (bytes, memoryview)):
        return Odd("a NumPy array of objects, text or dates")
    shape = tuple(shape)
    strides = contiguous(shape[::-1])[::-1] if order == "F" else contiguous(shape)
    stored = Stored(Storage(memoryview(data)), found, shape, strides)
    if stored.nbytes != stored.storage.nbytes:
        raise DamagedError(f"an array of shape {shape} has {stored.storage.nbytes} bytes")
    return stored


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any, *rest: Any) -> NumpyArray:
    array = NumpyArray()
    array.stored = _array_of(data, dtype, shape, order)
    return array


def _scalar(dtype: Any, data: Any = None) -> Any:
    found = _plain_dtype(dtype)
    if found is None or not isinstance(data, (bytes, memoryview)):
        return Inert("numpy.generic")
    if len(data) != found.itemsize:
        raise DamagedError("a NumPy scalar has the wrong size")
    return np.frombuffer(data, found)[0]


# Plain values.


def _dict(items: Any = (), *rest: Any) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for key, value in items.items() if isinstance(items, dict) else items:
        if not isinstance(key, (str, int)):
            raise DamagedError("its pickle holds a dict whose keys are neither text nor numbers")
        made[key] = value
    return made


def _sequence(items: Any = ()) -> list[Any]:
    if not isinstance(items, (list, tuple, set, frozenset)):
        raise DamagedError("its pickle makes a list of something else")
    return list(items)


def _encode(text: Any, codec: Any = "latin1") -> bytes:
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise DamagedError("its pickle encodes something in an unknown way")
    try:
        return text.encode("latin1")
    except UnicodeEncodeError:
        raise DamagedError("its pickle holds bytes that are none") from None


def _bytes(data: Any = b"", codec: Any = None) -> bytes:
    if isinstance(data, (bytes, memoryview)):
        return bytes(data)
    return _encode(data, codec) if isinstance(data, str) else b""


def _reconstructor(kind: Any, base: Any, state: Any) -> Any:
    return call(kind, ())


def _listed(items: Sequence[Any] = (), *rest: Any) -> list[Any]:
    return _sequence(items)


_CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _inner,
    "torch._utils._rebuild_parameter_with_state": _inner,
    "torch._tensor._rebuild_from_type": _of_type,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "torch._utils._rebuild_sparse_tensor": _odd("sparse"),
    "torch._utils._rebuild_sparse_csr_tensor": _odd("sparse"),
    "torch._utils._rebuild_qtensor": _odd("quantised"),
    "torch._utils._rebuild_nested_tensor": _odd("a nested tensor"),
    "torch._utils._rebuild_meta_tensor_no_storage": _odd("without values (meta)"),
    "torch.serialization._get_layout": lambda *arguments: Inert("torch.layout"),
    "numpy.core.multiarray._reconstruct": lambda *arguments: NumpyArray(),
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.dtype": _numpy_type,
    "numpy.ndarray": lambda *arguments: NumpyArray(),
    "collections.OrderedDict": _dict,
    "collections.defaultdict": lambda *arguments: {},
    "builtins.dict": _dict,
    "builtins.list": _sequence,
    "builtins.tuple": lambda items=(): tuple(_sequence(items)),
    "builtins.set": _sequence,
    "builtins.frozenset": _sequence,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.object": lambda: Inert("builtins.object"),
    "builtins.complex": lambda *parts: Inert("builtins.complex"),
    "builtins.slice": lambda *parts: Inert("builtins.slice"),
    "builtins.range": lambda *parts: Inert("builtins.range"),
    # As arguments of defaultdict: named, never called by a pickle.
    "builtins.int": lambda *parts: Inert("builtins.int"),
    "builtins.float": lambda *parts: Inert("builtins.float"),
    "builtins.str": lambda *parts: Inert("builtins.str"),
    "builtins.bool": lambda *parts: Inert("builtins.bool"),
    "_codecs.encode": _encode,
    "copyreg._reconstructor": _reconstructor,
    "torch.jit._pickle.build_intlist": _listed,
    "torch.jit._pickle.build_doublelist": _listed,
    "torch.jit._pickle.build_boollist": _listed,
    "torch.jit._pickle.build_tensorlist": _listed,
    "torch.jit._pickle.restore_type_tag": _inner,
}
