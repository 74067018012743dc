"""The table of meanings: what an API is called in torch, and the rows that spell it in Paddle."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from port.spelling.forms import Form, parameters_of
from port.spelling.in_place import in_place

TABLES = Path(__file__).with_name("tables")
ROWS = ("layers", "functions", "tensors", "modules", "rare")


@cache
def rows() -> Mapping[str, tuple[Form, ...]]:
    """Return {api: its forms, the first that fits is meant}."""
    found: dict[str, tuple[Form, ...]] = {}
    families = []
    for name in ROWS:
        table = read(name)
        for apis, forms in table["rows"].items():
            families.append(tuple(apis.split(" | ")))
            for api in families[-1]:
                if api in found:
                    raise ValueError(f"{name}.yml: {api} has two rows")
                found[api] = tuple(_form(api, s, f, table["dropped"]) for s, f in forms.items())
    names = frozenset(read("tensors")["in_place"].split())
    return found | in_place(names, families, found)


@cache
def alternatives() -> Mapping[str, tuple[Form, ...]]:
    """Return {api: other spellings of it, in the order in which they are tried}."""
    table = read("alternatives")
    return {
        api: tuple(_form(api, s, f, table["dropped"]) for s, many in forms.items() for f in many)
        for apis, forms in table["rows"].items()
        for api in apis.split(" | ")
    }


def read(name: str) -> dict[str, Any]:
    """Return the contents of a file of the table."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((TABLES / f"{name}.yml").read_text("utf-8"), loader)


def _form(api: str, signature: str, spelled: str | dict[str, Any], dropped: dict[str, str]) -> Form:
    entry: dict[str, Any] = {"write": spelled} if isinstance(spelled, str) else spelled
    template = entry["write"]
    parameters = parameters_of(signature)
    if api.startswith("torch.Tensor.") and template.startswith("paddle."):
        template = _as_method(template, parameters[0].name)
    return Form(
        api,
        parameters,
        template,
        {**dropped, **entry.get("drop", {})},
        tuple(entry.get("notes", ())),
        tuple(entry.get("differs", ())),
        bool(entry.get("backward", False)),
        entry.get("since", ""),
        entry.get("newly", ""),
    )


def _as_method(template: str, receiver: str) -> str:
    """`paddle.sum(input, axis=dim)` is `input.sum(axis=dim)` of a method."""
    function, _, rest = template.partition("(")
    name = function.removeprefix("paddle.")
    if "." in name or not rest.startswith(receiver) or not rest.endswith(")"):
        return template
    after = rest[len(receiver) :]
    if after[0] not in ",)":
        return template
    return f"{receiver}.{name}({after.removeprefix(',').lstrip()}"
