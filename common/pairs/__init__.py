"""THE TABLE of nets, one row a pair. Tests, conversion, alignment and the README all read it.

To add a net: `torch_ref/models/x.py`, its twin `paddle_impl/models/x.py`, a row of its task here,
two configs.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Any

from common.errors import UserError
from common.pairs.backbones import BACKBONES
from common.pairs.detection import DETECTION
from common.pairs.pair import IMAGE_SIZE, Pair, Told
from common.pairs.panoptic import PANOPTIC
from common.pairs.semantic import SEMANTIC
from common.pairs.volumetric import VOLUMETRIC

__all__ = [
    "IMAGE_SIZE",
    "PAIRS",
    "WITHOUT_DATA",
    "Pair",
    "Told",
    "build_from",
    "get_pair",
    "unknown_net",
]

# Tasks of which there is no data set here: their rows are aligned, and configs refuse them.
WITHOUT_DATA = ("video_panoptic",)

PAIRS: dict[str, Pair] = {**BACKBONES, **SEMANTIC, **PANOPTIC, **VOLUMETRIC, **DETECTION}


def unknown_net(name: str) -> str:
    """Say that no row is called so, and which one was probably meant."""
    plain = {re.sub(r"[^a-z0-9]", "", row.lower()): row for row in PAIRS}
    near = difflib.get_close_matches(re.sub(r"[^a-z0-9]", "", name.lower()), plain, n=1, cutoff=0.7)
    hint = f"did you mean {plain[near[0]]}? " if near else ""
    return f"no net is called {name!r}; {hint}The table has: {', '.join(PAIRS)}"


def get_pair(name: str) -> Pair:
    """Return the row called `name`; UserError names the rows that exist."""
    try:
        return PAIRS[name]
    except KeyError:
        raise UserError(unknown_net(name)) from None


def build_from(package: str, name: str, overrides: Mapping[str, Any]) -> Any:
    """Call the factory of row `name` in `package` (`torch_ref` or `paddle_impl`).

    Raises UserError where the row is unknown or the factory refuses an override.
    """
    import importlib
    import inspect

    pair = get_pair(name)
    factory = getattr(importlib.import_module(f"{package}.models.{pair.module}"), pair.factory)
    known = set(inspect.signature(factory).parameters) - set(pair.settings)
    unknown = sorted(set(overrides) - known)
    if unknown:
        raise UserError(
            f"{name} has no option {', '.join(map(repr, unknown))}; it has: "
            f"{', '.join(sorted(known))}"
        )
    return factory(**{**pair.settings, **overrides})
