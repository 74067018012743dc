"""The base of criteria of class maps that take whatever a net returns: one map or several."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from common.errors import ConfigError, UserError
from paddle_impl.losses.parts import LossOfParts
from paddle_impl.losses.pixels import (
    IGNORE_INDEX,
    check_classes,
    check_logits_and_label,
    log_probabilities,
    wide,
)


class ClassMap(NamedTuple):
    """One map of logits beside its label.

    logs: logarithms of the probabilities, [N, C, H, W]; of a net with one channel there are two
    classes, the first with a logit of 0. label: [N, H, W] int64. first: the first class that Dice
    and Lovasz look at: 1 for a net with one channel, else 0.
    """

    logs: Tensor
    label: Tensor
    first: int


class HeadsLoss(LossOfParts):
    """A criterion of every class map that the net returns; a subclass writes `terms` of one.

    Args:
        aux_weight: what terms of the other maps count, those of the first being 1; 0.4 is PSPNet's.
        ignore_index: label of pixels that teach nothing.
        maps: of the outputs so many are class maps, the first ones; None: all. STDC's nets return
            three and then logits of details.

    Logits of another size are resized to the label, bilinear, corners not aligned. A net with one
    channel knows the classes 0 and 1: its logit is that of class 1.
    Raises ConfigError for a negative weight.
    """

    def __init__(
        self,
        aux_weight: float = 0.4,
        ignore_index: int = IGNORE_INDEX,
        maps: int | None = None,
    ) -> None:
        super().__init__()
        if not aux_weight >= 0:
            raise ConfigError(f"aux_weight is {aux_weight}; set 0 or more")
        self.aux_weight = aux_weight
        self.ignore_index = ignore_index
        self.maps = maps

    def parts(self, outputs: Any, label: Tensor) -> dict[str, Tensor]:
        """Return the terms by name, unweighted, for logs; those of other maps end in `_aux1`, ...

        outputs: logits [N, C, h, w] floating, a list of such, or a dict with "out" and perhaps
        "aux", as the net returns them in train mode. label: [N, H, W] int64. Raises UserError for
        anything else.
        """
        found: dict[str, Tensor] = {}
        for number, logits in enumerate(class_maps(outputs, self.maps)):
            end = f"_aux{number}" if number else ""
            terms = self.terms(self.class_map(logits, label))
            found.update({f"{name}{end}": term for name, term in terms.items()})
        return found

    def terms(self, one: ClassMap) -> dict[str, Tensor]:
        """Return the terms of one map by name, scalars."""
        raise NotImplementedError

    def weight(self, term: str) -> float:
        """Return what a term of the first map counts."""
        return 1.0

    def total(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Return the loss to differentiate, a scalar, from the terms that `parts` gave."""
        weighted = []
        for name, part in parts.items():
            term, other, _ = name.partition("_aux")
            weighted.append(part * (self.weight(term) * (self.aux_weight if other else 1.0)))
        return sum(weighted[1:], start=weighted[0])

    def class_map(self, logits: Tensor, label: Tensor) -> ClassMap:
        """Return a map of logits [N, C, h, w] at the size of its label, as probabilities."""
        check_logits_and_label(logits, label)
        logits = wide(logits)
        size = list(label.shape[1:])
        if list(logits.shape[2:]) != size:
            logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        one = logits.shape[1] == 1
        if one:
            logits = paddle.concat([paddle.zeros_like(logits), logits], axis=1)
        check_classes(label, logits.shape[1], self.ignore_index)
        return ClassMap(log_probabilities(logits), label, 1 if one else 0)


def class_maps(outputs: Any, count: int | None = None) -> list[Tensor]:
    """Return the maps among the outputs of a net, of which all have the same number of channels.

    count: how many there are, the first outputs; None: all are. Raises UserError where one is no
    class map, or there are fewer.
    """
    if isinstance(outputs, Mapping):
        outputs = [outputs[name] for name in ("out", "aux") if name in outputs]
    maps = list(outputs) if isinstance(outputs, tuple | list) else [outputs]
    kinds = [list(getattr(one, "shape", [])) for one in maps]
    alike = [len(kind) == 4 and kind[1] == kinds[0][1] for kind in kinds]
    wanted = len(maps) if count is None else count
    if not maps or wanted > len(maps) or not all(alike[:wanted]):
        shown = [kind or type(one).__name__ for kind, one in zip(kinds, maps, strict=True)]
        first = alike.index(False) if False in alike else len(maps)
        hint = f"; loss.maps={first} takes the first {first} alone" if first else ""
        raise UserError(
            f"outputs: expected logits [N, C, h, w], or several of one C, got {shown}{hint}"
        )
    return maps[:wanted]
