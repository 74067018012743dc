"""What anybody's object holds, whatever it raises as it is asked, as stand-ins of packages do."""

from typing import Any


def attribute(value: Any, name: str, default: Any = None) -> Any:
    """Return an attribute; `default` where there is none, and where the object raises."""
    try:
        return getattr(value, name, default)
    except Exception:
        return default
