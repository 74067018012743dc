"""The moving average that a training keeps beside a net, made and asked as its user made it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from align.rungs.training.step_start import AverageFactory
from common.errors import UserError
from common.places import refuse_signature


class HeldAverage:
    """The average of one side's net, made by the user's `make`.

    It has `update()`, which takes the net's present tensors in, and `state()`: arrays by the net's
    names; or those of torch's AveragedModel, `update_parameters(net)` and `module`.

    side: what the user calls it. net: whose average it is. to_array: of the framework.

    Raises UserError where `make` cannot be called with a net, or makes something else.
    """

    def __init__(
        self, make: AverageFactory, side: str, net: Any, to_array: Callable[[Any], np.ndarray]
    ) -> None:
        option = "torch" if side == "reference" else "paddle"
        self.what = what = f"the {side}'s average (--{option}-average, {option}_average)"
        refuse_signature(make, what, ("net",))
        self.net, self.to_array, self.made = net, to_array, make(net)
        if not self._whole_model and not all(
            callable(getattr(self.made, name, None)) for name in ("update", "state")
        ):
            raise UserError(
                f"could not check: {what} is a {type(self.made).__name__}, expected an object with "
                "update(), which takes the net's present tensors in, and state(), which returns "
                "the averages by the net's names (or torch's AveragedModel)"
            )

    @property
    def _whole_model(self) -> bool:
        return callable(getattr(self.made, "update_parameters", None))

    def update(self) -> None:
        """Take the net's present tensors in."""
        if self._whole_model:
            self.made.update_parameters(self.net)
        else:
            self.made.update()

    def arrays(self, names: Mapping[str, int]) -> dict[str, np.ndarray]:
        """Return copies of the averages by the net's names, of a tensor with several under all.

        names: of the net's tensors, with what is the same for those of one tensor. Raises UserError
        where none of them has an average.
        """
        found = self.made.module.state_dict() if self._whole_model else self.made.state()
        if not set(found) & set(names):
            held, name = ", ".join(map(str, [*found][:3])), next(iter(names), "")
            raise UserError(
                f"could not check: {self.what} holds {held or 'nothing'}, and no tensor by a name "
                f"of the net, such as {name}"
            )
        known = {names[name]: value for name, value in found.items() if name in names}
        arrays = {
            one: value if isinstance(value, np.ndarray) else self.to_array(value)
            for one, value in known.items()
        }
        return {name: np.array(arrays[one]) for name, one in names.items() if one in arrays}
