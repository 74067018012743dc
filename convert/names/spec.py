"""What conversion knows about one tensor of a net or a file, in either framework."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

TORCH, PADDLE = "torch", "paddle"  # whose names and layouts a tensor has

# A tensor that belongs to no layer whose layout is known: moved as it is.
BARE = "Parameter"
BATCH_NORM = "BatchNorm"
INPLACE_ABN = "InPlaceABN"
LINEAR = "Linear"
# What torch's nets call a layer whose matrix is [in, out], as Paddle's Linear holds it.
IN_OUT = "Conv1D"
COUNTER = "num_batches_tracked"

# What a rules file may call the layer that holds a tensor, and what becomes of that.
KINDS = {
    LINEAR: "torch's [out, in] becomes Paddle's [in, out]",
    IN_OUT: "a matrix that is [in, out] in torch too, as GPT-2's: kept as it is",
    "Embedding": "kept as it is",
    "LayerNorm": "kept; of several dimensions: flattened",
    "GroupNorm": "kept as it is",
    "InstanceNorm": "its weight is called scale",
    "PReLU": "its weight is called _weight",
    "Conv": "kept as it is",
    "ConvTranspose": "kept as it is",
    BARE: "kept as it is",
}


@dataclass(frozen=True)
class Piece:
    """One of `count` pieces of a tensor along `axis` (torch's layout), equal or of `sizes`.

    Of a `complex` one the two are its real and its imaginary part, in its shape.
    """

    index: int
    count: int
    axis: int = 0
    sizes: tuple[int, ...] | None = None
    complex: bool = False

    def shape_of(self, shape: Sequence[int]) -> tuple[int, ...] | None:
        """Return the shape of the piece, None where a tensor of `shape` has no such pieces."""
        if self.complex:
            return tuple(shape)
        if self.axis >= len(shape):
            return None
        length = shape[self.axis]
        if self.sizes is None and length % self.count:
            return None
        if self.sizes is not None and sum(self.sizes) != length:
            return None
        sizes = self.sizes or (length // self.count,) * self.count
        return (*shape[: self.axis], sizes[self.index], *shape[self.axis + 1 :])

    def dtype_of(self, dtype: str) -> str | None:
        """Return the dtype of the piece of a tensor of `dtype`, None where it has none."""
        if not self.complex:
            return dtype
        return {"complex64": "float32", "complex128": "float64"}.get(dtype)

    def of(self, array: np.ndarray) -> np.ndarray:
        """Return the piece of `array` as a view."""
        if self.complex:
            part: np.ndarray = array.imag if self.index else array.real
            return part
        length = array.shape[self.axis]
        sizes = self.sizes or (length // self.count,) * self.count
        ends = [0, *accumulate(sizes)]
        where = slice(ends[self.index], ends[self.index + 1])
        return array[(slice(None),) * self.axis + (where,)]


def joined(pieces: Sequence[np.ndarray], axis: int, is_complex: bool) -> np.ndarray:
    """Return the tensor of all its pieces: one after the other, or a real and an imaginary part."""
    if is_complex:
        real, imaginary = pieces
        whole = np.empty(real.shape, np.result_type(real.dtype, np.complex64))
        whole.real, whole.imag = real, imaginary
        return whole
    return np.concatenate(pieces, axis=axis)


@dataclass(frozen=True)
class SourcePlace:
    """A place in a torch state dict: a name, and which piece of that tensor."""

    key: str
    piece: Piece | None = None


@dataclass(frozen=True)
class TensorSpec:
    """One entry of a state dict.

    Attributes:
        key: its name there, e.g. "cp.arm16.bn_atten._mean".
        shape: in the layout of its own framework.
        dtype: NumPy's (or ml_dtypes') name of it, e.g. "float32", "bfloat16".
        kind: layer that holds it ("Conv", "Linear", "BatchNorm", "InPlaceABN", ...), the same
            word in both frameworks; "Parameter" for any other layer, "" where only a file is known.
        role: what it is to that layer in torch's words ("weight", "running_mean"), also for Paddle.
        torch_path: path of the layer in torch where it differs from Paddle's.
        torch_shape: shape in torch where it is neither this one nor this one transposed.
        elsewhere: further places in a torch state dict where the values may stand, in order.
        tied_to: key of an earlier entry that is the very same tensor.
        said: whether torch holds the tensor the other way round, where a rule says it; None: the
            kind of layer tells.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    kind: str = ""
    role: str = ""
    torch_path: str | None = None
    torch_shape: tuple[int, ...] | None = None
    elsewhere: tuple[SourcePlace, ...] = ()
    tied_to: str | None = None
    said: bool | None = None

    @property
    def transposed(self) -> bool:
        """Whether torch holds the tensor the other way round."""
        return (self.kind, self.role) in TRANSPOSED if self.said is None else self.said

    @property
    def layer(self) -> str:
        """Path of the layer that holds the tensor, "" for the root."""
        return self.key.rpartition(".")[0]

    @property
    def torch_key(self) -> str:
        """The name that the same tensor has in a torch net of the same layer names."""
        path = self.layer if self.torch_path is None else self.torch_path
        return f"{path}.{self.role}" if path else self.role


# (kind of layer, role) whose layout Paddle holds the other way round: torch [out, in], Paddle
# [in, out]. "weight_v" and "weight_orig" are those of weight and spectral norm.
TRANSPOSED = {
    *(("Linear", "weight"), ("Linear", "weight_v"), ("Linear", "weight_orig")),
    ("RNNCell", "weight_ho"),
}
