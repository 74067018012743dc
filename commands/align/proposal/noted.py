"""Notes which layers are called, in either framework."""

from typing import Any

from align.arrays.arguments import Forward


class Noted:
    """Notes the path of every layer when its first call begins: `paths`."""

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}

    @property
    def paths(self) -> list[str]:
        """The paths, in the order of the calls."""
        return list(self._seen)

    def wrap(self, path: str, layer: Any, forward: Forward) -> Forward:
        """Return `forward` of the layer at `path`, noting its calls."""

        def run(*args: Any, **kwargs: Any) -> Any:
            self._seen.setdefault(path)
            return forward(*args, **kwargs)

        return run
