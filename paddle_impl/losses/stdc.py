"""STDC-Seg's whole loss."""

from collections.abc import Mapping, Sequence
from typing import Any

from paddle import Tensor

from common.errors import UserError
from paddle_impl.losses.detail import DetailLoss
from paddle_impl.losses.ohem import OhemCrossEntropy
from paddle_impl.losses.parts import LossOfParts

# Detail heads whose logits follow the three class maps in the outputs, by how many there are.
DETAIL_HEADS: dict[int, tuple[str, ...]] = {
    0: (),
    1: ("sp8",),
    2: ("sp4", "sp8"),
    3: ("sp2", "sp4", "sp8"),
}


class StdcLoss(LossOfParts):
    """STDC-Seg's whole loss: OHEM on the three class maps, BCE and Dice on every detail head.

    Args:
        ohem: settings of `OhemCrossEntropy`; None: its defaults.
        detail: settings of `DetailLoss`; None: its defaults.

    Source: MichaelFan01/STDC-Seg, train.py (all weights are 1).
    """

    def __init__(
        self,
        ohem: Mapping[str, Any] | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.ohem = OhemCrossEntropy(**(ohem or {}))
        self.detail = DetailLoss(**(detail or {}))

    def parts(self, outputs: Sequence[Tensor], label: Tensor) -> dict[str, Tensor]:
        """Return the terms by name, in a fixed order, for logs: `ohem_out`, ..., `dice_sp8`.

        outputs: (out, out16, out32) [N, C, H, W], then 0 to 3 detail logits [N, 1, h, w], as the
        net returns them. label: [N, H, W] int64. Raises UserError for anything else.
        """
        if not isinstance(outputs, tuple | list) or not 3 <= len(outputs) <= 6:
            found = len(outputs) if isinstance(outputs, tuple | list) else type(outputs).__name__
            raise UserError(
                f"outputs: expected (out, out16, out32) and up to 3 detail logits, got {found}; "
                "pass what the net returns in train mode"
            )
        parts: dict[str, Tensor] = {}
        for name, logits in zip(("out", "out16", "out32"), outputs[:3], strict=True):
            parts[f"ohem_{name}"] = self.ohem(logits, label)
        details = outputs[3:]
        for name, logits in zip(DETAIL_HEADS[len(details)], details, strict=True):
            parts[f"bce_{name}"], parts[f"dice_{name}"] = self.detail(logits, label)
        return parts
