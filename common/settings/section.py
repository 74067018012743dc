"""What the sections of a config are made of."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
AtLeast0 = Annotated[float, Field(ge=0)]
Above0 = Annotated[float, Field(gt=0)]
Size = tuple[Positive, Positive]  # height, width


class Section(BaseModel):
    """Frozen, and every key it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def flatten(tree: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Nested sections as dotted keys; lists and tuples as lists."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{at}{key}."))
        else:
            flat[f"{at}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat
