"""What conversion knows about one tensor of a net or a file, in either framework."""

from dataclasses import dataclass

# A tensor that belongs to no layer whose layout is known: moved as it is.
BARE = "Parameter"
BATCH_NORM = "BatchNorm"
INPLACE_ABN = "InPlaceABN"
COUNTER = "num_batches_tracked"


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
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    kind: str = ""
    role: str = ""

    @property
    def layer(self) -> str:
        """Path of the layer that holds the tensor, "" for the root."""
        return self.key.rpartition(".")[0]

    @property
    def torch_key(self) -> str:
        """The name that the same tensor has in a torch net of the same layer names."""
        return f"{self.layer}.{self.role}" if self.layer else self.role
