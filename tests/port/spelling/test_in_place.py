"""Methods that write in place, `x.tan_()`, follow from the rows of those that do not."""

import ast
import re

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from port.spelling.table import ROWS, read, rows
from tests.port.spelling.rows import call_text, samples
from tests.port.spelling.test_rows import _float64, checked  # noqa: F401  # a fixture

WRITTEN = {api for name in ROWS for key in read(name)["rows"] for api in key.split(" | ")}
NO_GRADIENT = ("acosh", "arccosh", "asinh", "arcsinh", "atanh", "arctanh")  # of torch, in place
FOLLOWS = sorted(
    f"torch.Tensor.{name}"
    for name in dir(torch.Tensor)
    if f"torch.Tensor.{name}" in rows().keys() - WRITTEN and re.fullmatch(r"[a-z]\w*_", name)
)
TWO_TYPES = "it compares two types"  # `whole.lt_(numbers)`: told, and not written
AS_WELL = {  # forms that follow beside those of a row
    "divide_ of a row": "(x4 + 0).divide_(3)",
    "rounded": "(x4 * 3 + 0).div_(2, rounding_mode='floor')",
    "between tensors": "(x4 + 0).clamp_(-pos4, pos4)",
    "a function": "torch.sqrt_(pos4 + 0)",
    "a function of nn": "F.celu_(x4 + 0, 0.5)",
    "in a chain": "(x4 + 0).mul_(2).atan_().subtract_(y4).addcmul_(x4, y4, value=0.5)",
    "of the type that it had": "(x4 + 0).gt_(0.1)",
    "a view": "(x4 + 0)[:, 0].atan2_(y4[:, 0])",
}


def of_a_copy(api, sample):
    """Return the call in place of a sample of another call."""
    call = ast.parse(call_text(api, sample), mode="eval").body
    copy = "detach().clone" if api.endswith(tuple(f"{one}_" for one in NO_GRADIENT)) else "clone"
    call.func.value = ast.parse(f"({ast.unparse(call.func.value)}).{copy}()", mode="eval").body
    return ast.unparse(call)


def samples_of(api):
    """Return samples of the method that makes a new tensor, by whichever name they stand."""
    name = api.rpartition(".")[2].removesuffix("_")
    for key in (key for table in ROWS for key in read(table)["rows"]):
        family = key.split(" | ")
        if {f"torch.{name}", f"torch.Tensor.{name}"} & {*family}:
            return [one for other in family for one in samples().get(other, [])]
    return []


def test_they_are_all_of_torchs_whose_base_has_a_row():
    own = {
        "requires_grad",
        "detach",
        "normal",
        "bernoulli",
        "polygamma",
    }  # in place they do another thing
    own |= {"transpose", "swapaxes", "swapdims"}
    wanted = {
        f"torch.Tensor.{name}"
        for name in dir(torch.Tensor)
        if re.fullmatch(r"[a-z]\w*_", name)
        and rows().keys() & {f"{owner}.{name[:-1]}" for owner in ("torch", "torch.Tensor")}
        and name[:-1] not in own
    }
    assert wanted <= rows().keys(), wanted - rows().keys()
    torchs = (torch.Tensor, torch, torch.nn.functional)
    asked = read("tensors")["in_place"].split()
    assert not [name for name in asked if not any(hasattr(one, f"{name}_") for one in torchs)]


@pytest.mark.parametrize("part", range(4))
def test_what_follows_computes_the_same(part):
    wrong = []
    for api in FOLLOWS[part::4]:
        results = [checked(of_a_copy(api, sample), own=False) for sample in samples_of(api)]
        wrong += [one for one in results if one and TWO_TYPES not in one]
        if all(one is None for one in results):
            wrong.append(f"{api}: torch takes no sample")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("case", AS_WELL)
def test_forms_beside_those_of_a_row(case):
    assert checked(AS_WELL[case], own=True) == ""
