"""What the rows call has the arguments that they give it, in that order, with those defaults."""

import ast
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

import yaml

from port.helpers import helper_names, helpers, source_of
from port.record.hook_torch import ATTRIBUTES
from port.spelling.bind import names_in
from port.spelling.forms import Form
from port.spelling.names import attribute_table, name_table, spell_name
from port.spelling.since import too_new
from port.spelling.table import alternatives, rows
from tests.paths import ROOT
from tests.port.spelling.rows import helper_module

SAME = {("topk", "dim"), ("var", "unbiased")}  # None of Paddle's is torch's default
SPELLED_AS = {"truth", "unless_true", "always", "items", "pair", "triple", "listed"}


def calls() -> Iterator[tuple[Form, ast.Call, Any]]:
    """Yield the rows whose spelling is one call of a known function, which is the third."""
    space = {"paddle": paddle, "nn": paddle.nn, "F": paddle.nn.functional, **helper_module()}
    for forms in rows().values():
        for form in forms:
            if form.template.startswith("@") or not isinstance(form.tree, ast.Call):
                continue
            if too_new(form):
                continue
            func = form.tree.func
            dotted = ast.unparse(func)
            if "(" not in dotted and dotted.partition(".")[0] in space:
                yield form, form.tree, eval(dotted, space)
            elif "." in dotted and "(" not in dotted and form.api.startswith("torch.Tensor."):
                yield form, form.tree, getattr(paddle.Tensor, dotted.rpartition(".")[2])


def parameters(function: Any, bound: bool) -> list[inspect.Parameter] | None:
    """Return the parameters of a function or class, without self; None where Python hides them."""
    try:
        found = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):
        return None
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in found):
        return None
    return found[1:] if bound else found


def test_arguments_have_their_names_and_places() -> None:
    wrong = []
    for form, tree, function in calls():
        method = (
            form.template.startswith(form.parameters[0].name + ".") if form.parameters else False
        )
        known = parameters(function, method)
        if known is None:
            continue
        names = [p.name for p in known]
        optional = {p.name for p in form.parameters if p.default is not None}
        for place, argument in enumerate(tree.args):
            name = ast.unparse(argument)
            if name in optional and names[place : place + 1] != [name]:
                wrong.append(f"{form.api}: {name} is not the {place}. of {names}")
        wrong += [f"{form.api}: no {k.arg} in {names}" for k in tree.keywords if k.arg not in names]
    assert wrong == []


def test_what_is_left_out_has_the_same_default() -> None:
    """A row without `always` says that Paddle's default is torch's."""
    wrong = []
    for form, tree, function in calls():
        method = (
            form.template.startswith(form.parameters[0].name + ".") if form.parameters else False
        )
        known = {p.name: p.default for p in parameters(function, method) or []}
        defaults = {p.name: p.default for p in form.parameters}
        pairs = [(k.arg, k.value) for k in tree.keywords]
        pairs += [(a.id, a) for a in tree.args if isinstance(a, ast.Name)]
        for name, value in pairs:
            if isinstance(value, ast.Name) and defaults.get(value.id) is not None and name in known:
                torchs, paddles = ast.literal_eval(defaults[value.id]), known[name]
                method_name = form.api.rpartition(".")[2]
                if not alike(torchs, paddles) and (method_name, value.id) not in SAME:
                    wrong.append(f"{form.api}: {value.id}={torchs!r}, {name}={paddles!r} in Paddle")
    assert wrong == []


def alike(a: Any, b: Any) -> bool:
    """Return whether two defaults mean the same."""
    if isinstance(a, float) and isinstance(b, int | float):
        return abs(a - b) <= 1e-12
    if a in (None, ()) and b in (None, (), -1, False):
        return True
    return list(a) == list(b) if isinstance(a, tuple | list) else a == b


def test_rows_cite_differences_that_exist() -> None:
    table = yaml.safe_load((ROOT / "docs" / "differences.yml").read_text("utf-8"))
    known = {row["test"] for area in table for row in area["rows"]}
    cited = {name for forms in rows().values() for form in forms for name in form.differs}
    assert cited - known == set()


def test_rows_use_what_they_name() -> None:
    """A name in a template is a parameter, a word of templates, a module or a helper."""
    wrong = []
    for forms in rows().values():
        for form in forms:
            if form.template.startswith("@"):
                continue
            names = {p.name for p in form.parameters} | SPELLED_AS | helper_names()
            names |= {"paddle", "nn", "F", "int", "bool", "float", "len", "list", "tuple"}
            names |= {"isinstance"}
            wrong += [f"{form.api}: {n}" for n in names_in(form.template) - names]
            lost = form.dropped.keys() & names_in(form.template) - {
                "dtype",
                "device",
                "memory_format",
            }
            wrong += [f"{form.api}: {n} is dropped and used" for n in lost]
    assert wrong == []


def test_helpers_are_used_and_say_why() -> None:
    used = {n for forms in rows().values() for f in forms for n in names_in(f.template)}
    used |= {n for forms in alternatives().values() for f in forms for n in names_in(f.template)}
    used |= {f.template.partition(":")[2] for forms in rows().values() for f in forms}
    places = [
        *(ROOT / "port").glob("write/**/*.py"),
        *(ROOT / "port").glob("trace/*.py"),
        ROOT / "port" / "port.py",
        ROOT / "port" / "spelling" / "axes.py",
        ROOT / "port" / "spelling" / "frozen.py",
        ROOT / "port" / "spelling" / "written_out.py",
    ]
    writers = "".join(place.read_text("utf-8") for place in places)
    used |= {name for name in helper_names() if name in writers}
    used |= {n for text in name_table().values() for n in names_in(text)}
    used |= {n for table in attribute_table().values() for n in _names_of(table)}
    inner = {name for helper in helpers().values() for name in helper.uses}
    assert helper_names() - used - inner == set()
    assert all(h.reason or h.source.startswith("ValuesAndIndices") for h in helpers().values())


def _names_of(table) -> frozenset[str]:
    entries = [{"read": one} if isinstance(one, str) else one for one in table.values()]
    texts = [entry[way] for entry in entries for way in ("read", "set") if way in entry]
    return frozenset().union(*(names_in(text.rpartition(" = ")[2]) for text in texts))


@pytest.mark.parametrize("name", sorted(helper_names()))
def test_helper_stands_alone(name: str) -> None:
    """With what it uses and imports, and nothing else."""
    space: dict[str, Any] = {}
    exec(compile(source_of([name]), "torch_calls.py", "exec"), space)
    tree = ast.parse(helpers()[name].source)
    bare = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    local = {
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    local |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    local |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    builtin = set(dir(__builtins__) if not isinstance(__builtins__, dict) else __builtins__)
    assert bare - local - builtin - space.keys() == set()


def test_names_exist() -> None:
    space = {
        "paddle": paddle,
        "nn": paddle.nn,
        "F": paddle.nn.functional,
        "math": __import__("math"),
        "operator": __import__("operator"),
    }
    for api in name_table():
        spelled = spell_name(api)
        eval(spelled.text, {**space, **helper_module()})
    for api in (
        "torch.nn.BatchNorm2d",
        "torch.nn.functional.relu",
        "torch.nn.GELU",
        "torch.sigmoid",
    ):
        assert eval(spell_name(api).text, space) is not None


def test_whose_attributes_they_are_is_asked_of_all() -> None:
    assert {name for table in attribute_table().values() for name in table} <= ATTRIBUTES


def test_attributes_exist() -> None:
    """Each is read of a layer of its kind, and worth what torch's is."""
    made = {
        "torch.nn.Conv2d": ((4, 6, 3, 2, 1), (4, 6, 3, 2, 1)),
        "torch.nn.Linear": ((3, 5), (3, 5)),
        "torch.nn.BatchNorm2d": ((4,), (4,)),
        "torch.nn.InstanceNorm2d": ((4, 1e-3, 0.1, True), (4, 1e-3)),
        "torch.nn.GroupNorm": ((2, 4), (2, 4)),
        "torch.nn.LayerNorm": ((6,), (6,)),
        "torch.nn.Embedding": ((4, 6), (4, 6)),
        "torch.nn.PReLU": ((), ()),
        "torch.nn.LeakyReLU": ((0.2,), (0.2,)),
        "torch.nn.Dropout": ((0.3,), (0.3,)),
        "torch.nn.MaxPool2d": ((2, 2), (2, 2)),
        "torch.nn.MaxPool1d": ((2, 2), (2, 2)),
        "torch.nn.AvgPool2d": ((2, 2), (2, 2, 0, False, False)),
        "torch.nn.AdaptiveAvgPool2d": ((3,), (3,)),
        "torch.nn.AdaptiveMaxPool2d": ((3,), (3,)),
        "torch.nn.PixelShuffle": ((2,), (2,)),
        "torch.nn.PixelUnshuffle": ((2,), (2,)),
        "torch.nn.ELU": ((0.5,), (0.5,)),
        "torch.nn.GLU": ((1,), (1,)),
        "torch.nn.Flatten": ((), ()),
        "torch.nn.Hardtanh": ((-2.0, 3.0), (-2.0, 3.0)),
        "torch.nn.Softplus": ((2.0, 9.0), (2.0, 9.0)),
        "torch.nn.Upsample": ((None, 2), (None, 2)),
        "torch.nn.Softmax": ((1,), (1,)),
        "torch.nn.Conv1d": ((4, 6, 3, 2, 1), (4, 6, 3, 2, 1)),
        "torch.nn.ConvTranspose1d": ((4, 6, 3, 2, 1, 1), (4, 6, 3, 2, 1, 1)),
        "torch.nn.ConvTranspose2d": ((4, 6, 3, 2, 1, 1), (4, 6, 3, 2, 1, 1)),
        "torch.nn.MaxPool3d": ((2,), (2,)),
        "torch.nn.AvgPool3d": ((2,), (2, None, 0, False, False)),
        "torch.nn.Bilinear": ((3, 4, 5), (3, 4, 5)),
        "torch.nn.CELU": ((0.5,), (0.5,)),
        "torch.nn.GELU": (("tanh",), (True,)),
        "torch.nn.ReLU6": ((), ()),
        "torch.nn.Threshold": ((0.1, 0.0), (0.1,)),
        "torch.nn.Softshrink": ((0.3,), (0.3,)),
        "torch.nn.Hardshrink": ((0.3,), (0.3,)),
        "torch.nn.ChannelShuffle": ((2,), (2,)),
        "torch.nn.CosineSimilarity": ((1, 1e-6), (1, 1e-6)),
        "torch.nn.UpsamplingNearest2d": ((None, 2), (None, 2)),
        "torch.nn.UpsamplingBilinear2d": ((None, 2), (None, 2)),
    }
    from port.spelling import spell_attribute

    for kind, (torchs, paddles) in made.items():
        reference = getattr(torch.nn, kind.rpartition(".")[2])(*torchs)
        port = eval(spell_name(kind).text, {"nn": paddle.nn})(*paddles)
        for name in attribute_table()[kind]:
            spelled = spell_attribute(kind, name, "m")
            space = {**helper_module(), "m": port, "nn": paddle.nn}
            expected, got = getattr(reference, name), eval(spelled.text, space)
            if isinstance(expected, torch.Tensor):
                assert list(expected.shape) == list(got.shape), (kind, name)
            elif name == "align_corners":
                assert bool(expected) == bool(got), kind  # None means no
            elif isinstance(expected, float):
                assert abs(expected - got) < 1e-9, (kind, name)
            else:
                assert expected == got, (kind, name)
