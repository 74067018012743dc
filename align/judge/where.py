"""Which tensor of a layer is meant: its kind and its name, one parser of the text in reports."""

from dataclasses import dataclass

# Of what arrives and leaves, and of parameters.
GRADIENTS = frozenset(("grad", "grad_input", "grad_output"))


@dataclass(frozen=True)
class Where:
    """A kind of tensor, and which of that kind: its index, or its name.

    As text "output:0", "grad_input:1", "grad:weight", "slot:weight.moment", "attribute:stride";
    a kind of which there is one stands alone: "lr", "loss", "calls".
    """

    kind: str
    name: str = ""

    @classmethod
    def of(cls, text: str) -> "Where":
        """Return what `str` made `text` of."""
        kind, _, name = text.partition(":")
        return cls(kind, name)

    def __str__(self) -> str:
        """Return the text that reports have."""
        return f"{self.kind}:{self.name}" if self.name else self.kind

    @property
    def is_gradient(self) -> bool:
        """Tell whether it is found in the backward pass."""
        return self.kind in GRADIENTS

    @property
    def module(self) -> str:
        """The module that holds the tensor, of one that is named by its full path."""
        return self.name.rpartition(".")[0]
