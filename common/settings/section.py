"""What the sections of a config are made of."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from common.pairs import PAIRS, unknown_net
from common.words.patterns import fault_of

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
AtLeast0 = Annotated[float, Field(ge=0)]
Above0 = Annotated[float, Field(gt=0)]
Size = tuple[Positive, Positive]  # height, width


def _expression(pattern: str) -> str:
    if fault := fault_of(pattern):
        raise ValueError(f"no regular expression: {fault}")
    return pattern


Expression = Annotated[str, AfterValidator(_expression)]  # a regular one
Pattern = Annotated[Expression, Field(min_length=1)]


def _in_table(name: str) -> str:
    if name not in PAIRS:
        raise ValueError(unknown_net(name))
    return name


Row = Annotated[str, AfterValidator(_in_table)]  # of the table of nets


class Section(BaseModel):
    """Frozen, and every key it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Named(Section):
    """A row of a table and its options."""

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments for what the row builds."""
        return self.model_dump(exclude={"name"})


def flatten(tree: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Nested sections as dotted keys; lists and tuples as lists."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{at}{key}."))
        else:
            flat[f"{at}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat
