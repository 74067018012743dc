"""Cross-entropy of nets with an auxiliary head: PSPNet, GloRe, torchvision's."""

from collections.abc import Mapping, Sequence
from typing import Any

from paddle import Tensor

from common.errors import ConfigError, UserError
from paddle_impl.losses.cross_entropy import CrossEntropy
from paddle_impl.losses.parts import LossOfParts
from paddle_impl.losses.pixels import IGNORE_INDEX


class AuxiliaryCrossEntropy(LossOfParts):
    """Cross-entropy of the main head plus `aux_weight` times that of the auxiliary head.

    Args:
        aux_weight: 0.4 is PSPNet's and GloRe's, 0.5 torchvision's.
        ignore_index: label of pixels that teach nothing.
        weights, label_smoothing: see `CrossEntropy`; their authors set none.

    Source: hszhao/semseg, tool/train.py; torchvision, references/segmentation/train.py.

    Raises ConfigError for a negative weight.
    """

    def __init__(
        self,
        aux_weight: float = 0.4,
        ignore_index: int = IGNORE_INDEX,
        weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if not aux_weight >= 0:
            raise ConfigError(f"aux_weight is {aux_weight}; set 0 or more")
        self.aux_weight = aux_weight
        self.cross_entropy = CrossEntropy(ignore_index, weights, label_smoothing)

    def parts(self, outputs: Any, label: Tensor) -> dict[str, Tensor]:
        """Return the terms by name, unweighted, for logs: `main` and `aux`.

        outputs: (logits, auxiliary logits), or a dict with "out" and perhaps "aux", as the net
        returns them in train mode; each [N, C, H, W] floating. label: [N, H, W] int64. Raises
        UserError for anything else.
        """
        if isinstance(outputs, Mapping):
            outputs = [outputs[name] for name in ("out", "aux") if name in outputs]
        if not isinstance(outputs, tuple | list) or not 1 <= len(outputs) <= 2:
            found = len(outputs) if isinstance(outputs, tuple | list) else type(outputs).__name__
            raise UserError(
                f"outputs: expected (logits, auxiliary logits), got {found}; pass what the net "
                "returns in train mode"
            )
        names = ("main", "aux")[: len(outputs)]
        return {
            name: self.cross_entropy(logits, label)
            for name, logits in zip(names, outputs, strict=True)
        }

    def total(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Return the loss to differentiate, a scalar, from the terms that `parts` gave."""
        if "aux" not in parts:
            return parts["main"]
        return parts["main"] + parts["aux"] * self.aux_weight
