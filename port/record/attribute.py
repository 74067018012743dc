"""What anybody's object holds, whatever it raises as it is asked, as stand-ins of packages do."""

import gc
import sys
from typing import Any

Held = tuple[int, int, dict[str, Any]]  # who it is, how many hold it, what it holds itself


def attribute(value: Any, name: str, default: Any = None) -> Any:
    """Return an attribute; `default` where there is none, and where the object raises."""
    try:
        return getattr(value, name, default)
    except Exception:
        return default


def held(thing: Any) -> Held:
    """Return how a function or a class stands before it is decorated, or after that."""
    own = dict(getattr(thing, "__dict__", {}))
    for name in ("__doc__", "__annotations__"):  # which a look at them makes
        own.pop(name, None)
    return id(thing), sys.getrefcount(thing), own


def is_same(before: Held, after: Held) -> bool:
    """Tell whether a decorator gave back what it got, as it was."""
    same = before[0] == after[0] and before[2].keys() == after[2].keys()
    return same and all(value is after[2][name] for name, value in before[2].items())


class Sweeps:
    """Looks for garbage, which takes its time, now and then: it may hold what was decorated."""

    left = 8

    def one(self) -> bool:
        """Look for garbage if there is one left; tell whether it was looked for."""
        if not self.left:
            return False
        self.left -= 1
        gc.collect()
        return True
