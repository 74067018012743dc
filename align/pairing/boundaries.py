"""What a rules file says of the shapes at the boundaries of layers."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from align.judge.where import Where
from common.words.patterns import matches

if TYPE_CHECKING:
    from convert.names.rules import Reshape

Shape = tuple[int, ...]


class Boundaries:
    """Shapes in which the reference has what a layer of the port takes or returns.

    `rules` match "path output:0" as a report prints it, "output:0" of the root, and "loss".
    """

    def __init__(self, rules: "Sequence[Reshape]", is_whole: bool) -> None:
        self.rules = rules
        self.is_whole = is_whole  # the root is a net with its loss
        self._own: dict[tuple[str, str, Shape], Shape] = {}

    def shape(self, path: str, where: str, own: Shape) -> Shape | None:
        """Return the reference's shape of a tensor that the port has as `own`.

        None where no rule says it, and where they do not hold as many values. `own_shape` knows it
        from then on.
        """
        name = self._name(path, where)
        found = next((rule.shape for rule in self.rules if matches(rule.match, name)), None)
        if found is None or found == own or math.prod(found) != math.prod(own):
            return None
        self._own[path, where, found] = own
        return found

    def own_shape(self, path: str, where: str, shape: Shape) -> Shape | None:
        """Return the port's shape of what the reference has as `shape`; None: the same."""
        return self._own.get((path, where, shape))

    def _name(self, path: str, where: str) -> str:
        if not self.is_whole:
            return f"{path} {where}".strip()
        if path == "" and Where.of(where).kind == "output":
            return "loss"
        inner = f"{path}.".removeprefix("net.").removesuffix(".")
        return f"{inner} {where}".strip()
