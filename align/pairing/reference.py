"""What the port's side asks of the reference: of a live torch net, or of a recording of one."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from convert.names.spec import TensorSpec


class Reference(Protocol):
    """A net of torch as plain data. Paths are first paths of modules, "" is the root."""

    @property
    def paths(self) -> Mapping[str, Sequence[str]]:
        """Return {first path: all paths} of the modules."""

    @property
    def is_whole(self) -> bool:
        """Tell whether it is a net and its loss in one (`align.nets.whole_torch.NetWithLoss`)."""

    def specs(self) -> "list[TensorSpec]":
        """Return the entries of the state dict, in its order."""

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Return the state dict as arrays."""

    def identities(self) -> Mapping[str, int]:
        """Return {key of the state dict: identity of the tensor}: tied tensors share one."""

    def frozen(self) -> Mapping[str, bool]:
        """Return {parameter, under each of its names: whether it is not trained}."""

    def class_name(self, path: str) -> str:
        """Return the name of the module's class."""

    def source(self, path: str) -> str:
        """Return `file:line` of the code that the module runs, or its class's name."""

    def code(self, path: str) -> str:
        """Return the same as a report's layers show it: relative to the folder of the run."""

    def attributes(self, path: str) -> dict[str, Any]:
        """Return the static attributes (`align.pairing.attributes`)."""

    def is_in_mode(self, path: str) -> bool:
        """Tell whether the module is in train mode where the root is, in eval mode where it is."""

    def settings(self, path: str) -> Mapping[str, Any]:
        """Return the module's own plain attributes: flags, numbers, text, None, tuples of them.

        Tuples only of modules that are no layers of the framework's.
        """

    def tables(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        """Return {path: {name: floating tensor that the module holds and no file of weights}}."""

    def momentum(self, path: str) -> Any:
        """Return the module's momentum as it is used, None where it has none."""
