"""The format of a stored trace (docs/trace_format.md): the manifest, and trees as plain data."""

import dataclasses
import math
from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from align.nets.casts.told import CastOf
from align.record.draws import DrawKind
from align.record.stock_attention import Attention
from common.documents import STRICT

SCHEMA = 1
KIND = "trace"
MANIFEST = "manifest.json"
SHARD_BYTES = 1 << 26  # so much is held in memory until it is written

Plain = Any  # what JSON holds


@dataclass
class StoredCall:
    """One call of one module: `align.record.trace.Call` with names in place of arrays.

    `parent` is the number of the call whose code called it. `feeds` are the boundaries that its
    outputs reach in the code around it, `enters` those that its inputs reach in its own code, as
    (number of a call, "input" or "output"). `casts` is the line that casts floats to float32,
    `cast_of` what is cast.
    """

    __pydantic_config__: ClassVar = STRICT

    path: str
    index: int
    parent: int | None
    inputs: list[str]
    outputs: list[str]
    grad_inputs: list[str | None]
    grad_outputs: list[str | None]
    numbers: list[Any]
    template: Plain
    arguments: Plain
    kernels: list[str]
    constant: list[str]
    attention: Attention | None
    feeds: list[tuple[int, str]]
    enters: list[tuple[int, str]]
    casts: str = ""
    cast_of: list[CastOf] = field(default_factory=list)


@dataclass
class StoredDraw:
    """What one random function of the reference gave: `align.record.draws.Draw`."""

    __pydantic_config__: ClassVar = STRICT

    function: str
    kind: DrawKind
    calls: list[tuple[str, int]]
    values: str
    low: Any
    high: Any
    keep: Any


@dataclass
class StoredView:
    """A function of one tensor: the tensor's size and ends, and its values at the grid.

    The grid is `align.record.bounds.GRID`; None where it could not be probed.
    """

    __pydantic_config__: ClassVar = STRICT

    size: int
    low: Any
    high: Any
    values: str | None


@dataclass
class StoredBounding:
    """A function that bounds values, as code called it: `align.record.bounds.Bounding`."""

    __pydantic_config__: ClassVar = STRICT

    function: str
    owner: tuple[str, int] | None
    said: bool
    source: str
    views: list[StoredView]


@dataclass
class StoredModule:
    """One module of the reference, by its first path: what the port's side asks of it.

    `is_layer`: it is judged where `Floor.layers` was measured.
    """

    __pydantic_config__: ClassVar = STRICT

    paths: list[str]
    class_name: str
    source: str
    code: str
    attributes: dict[str, Plain]
    settings: dict[str, Plain]
    momentum: Plain
    in_mode: bool
    is_layer: bool


@dataclass
class Floor:
    """How far the reference's tensor moves at one place, by what is judged around it.

    Each is [roundings, inexact kernels], absolute: `all` with every module judged, `layers` with
    the layers that hold parameters and the root, `root` with the root alone; None where the place
    is not one then. `constants`: with epsilon and momentum as Paddle's kernels round them.
    """

    __pydantic_config__: ClassVar = STRICT

    path: str
    call: int
    where: str
    all: tuple[Any, Any] | None
    layers: tuple[Any, Any] | None
    root: tuple[Any, Any] | None
    constants: Any


@dataclass
class Shard:
    """One file of arrays."""

    __pydantic_config__: ClassVar = STRICT

    file: str
    bytes: int
    sha256: str


@dataclass
class Manifest:
    """Everything of a trace but the arrays, which it names."""

    __pydantic_config__: ClassVar = STRICT

    schema: int
    kind: str
    train: bool
    backward: bool
    with_loss: bool
    settings: dict[str, Plain]
    environment: dict[str, Plain]
    inputs: Plain
    calls: list[StoredCall]
    draws: list[StoredDraw]
    modules: dict[str, StoredModule]
    specs: list[dict[str, Plain]]
    state: dict[str, str]
    identities: dict[str, int]
    frozen: dict[str, bool]
    parameters: list[str]
    inplace: list[str]
    buffers_before: dict[str, str]
    buffers: dict[str, str]
    gradients: dict[str, str | None]
    floors: list[Floor]
    shards: list[Shard] = field(default_factory=list)
    complex128: list[str] = field(default_factory=list)
    as_code: list[str] = field(default_factory=list)
    packed: list[str] = field(default_factory=list)
    bounds: list[StoredBounding] | None = None  # None: an earlier version recorded none


def number(value: Any) -> float:
    """Return a number that `common.documents.plain` wrote: "nan", "inf" and "-inf" are texts."""
    return float(value)


def encode(tree: Any, leaf: Callable[[Any], Plain | None]) -> Plain:
    """Return a tree as plain data; `leaf(value)` gives that of a tensor, None of anything else."""
    own = leaf(tree)
    if own is not None:
        return own
    if tree is None or isinstance(tree, (bool, int, str)):
        return {"value": tree}
    if isinstance(tree, float):
        return {"float": tree if math.isfinite(tree) else str(tree)}
    if isinstance(tree, complex):
        return {"complex": [str(tree.real), str(tree.imag)]}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        items = [encode(value, leaf) for value in tree]
        return {"named": type(tree).__name__, "fields": list(tree._fields), "items": items}
    if type(tree) in (tuple, list):
        return {type(tree).__name__: [encode(value, leaf) for value in tree]}
    if isinstance(tree, Mapping):
        return {"dict": [[_key(key), encode(value, leaf)] for key, value in tree.items()]}
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = [entry.name for entry in dataclasses.fields(tree)]
        items = [encode(getattr(tree, name), leaf) for name in names]
        return {"dataclass": type(tree).__name__, "fields": names, "items": items}
    return {"other": type(tree).__qualname__}


def _key(key: Any) -> Plain:
    return key if isinstance(key, (str, int)) and not isinstance(key, bool) else str(key)


def decode(data: Plain, leaf: Callable[[str, Any], Any]) -> Any:
    """Return the tree that `encode` made `data` of.

    `leaf(tag, value)` gives what stands for a leaf that `encode`'s gave as {tag: value}. Named
    tuples and dataclasses come as such of the same names and fields; objects of other types as
    None.

    Raises:
        ValueError: `data` is no such tree.
    """
    if not isinstance(data, dict) or not data:
        raise ValueError(f"no tree: {str(data)[:60]}")
    tag, value = next(iter(data.items()))
    if tag == "value":
        return value
    if tag == "float":
        return float(value)
    if tag == "complex":
        return complex(float(value[0]), float(value[1]))
    if tag in ("tuple", "list"):
        found = [decode(entry, leaf) for entry in value]
        return tuple(found) if tag == "tuple" else found
    if tag == "dict":
        return {key: decode(entry, leaf) for key, entry in value}
    if tag in ("named", "dataclass"):
        return _with_fields(tag, data, [decode(entry, leaf) for entry in data["items"]])
    if tag == "other":
        return None
    return leaf(tag, value)


def _with_fields(tag: str, data: Plain, items: list[Any]) -> Any:
    names = [str(name) for name in data["fields"]]
    if tag == "named":
        return namedtuple("Named", names, rename=True)(*items)
    kind = dataclasses.make_dataclass("Stored", [f"f{i}" for i in range(len(names))])
    return kind(*items)
