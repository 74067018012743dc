"""What a statement sets on layers and tensors: `layer.padding = 1`, `layers[-1] = layer`."""

import ast
import re
from collections.abc import Sequence

from port.calls import Argument, Spelled
from port.meanings import attribute_spelled, setting_spelled, value_spelled
from port.record.facts import Binding, Facts
from port.spelling.names import is_new_of_modules
from port.spelling.texts import DATA, itself, turned
from port.write.files.texts import DROP, in_brackets
from port.write.in_place.uses import MAY_BE_TURNED, may_be_turned
from port.write.owners import is_torchs, owner_names
from port.write.parts import PartWriter, argument

# Which move no value.
SETTINGS = ("torch.backends.", "torch.nn.Module.dump_patches", "torch.save", "torch.load")
_KEEPING = ("torch.nn.Sequential", "nn.Sequential(*{one}, *{other})")
_LISTS = ("torch.nn.ModuleList", "nn.LayerList([*{one}, *{other}])")
_LINEAR, _MODULE = "torch.nn.Linear", "torch.nn.Module"
_BUFFERS = {"torch.nn.Buffer", "torch.nn.parameter.Buffer"}
_OF_A_LAYER = re.compile(r"^[\w.\[\]]+\.weight$")
_TURNED_AND_NOT = "both layers share one weight, and Paddle keeps that of a Linear turned"
_WEIGHTS = ("weight", "bias")
_NN = frozenset({"from paddle import nn"})


def pairs_of(node: ast.Assign) -> list[tuple[ast.expr, ast.expr]]:
    """Return (target, value) of an assignment, of `a, b = c, d` each by itself."""
    target, value = node.targets[0], node.value
    if len(node.targets) > 1:
        return []
    both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
    if both and len(target.elts) == len(value.elts):  # type: ignore[attr-defined]  # both are tuples
        return list(zip(target.elts, value.elts, strict=True))  # type: ignore[attr-defined]
    return [(target, value)]


def set_by(writer: PartWriter, node: ast.Assign, target: ast.expr, value: ast.expr) -> str | None:
    """Write `layer.padding = 1`, `tensor.data = x` as Paddle's layers and tensors take it."""
    if not isinstance(target, ast.Attribute):
        return None
    if (made := _buffer(writer, target, value)) is not None:
        return made
    bound = None if _is_users(writer, target.value) else writer.source.resolve(target)
    if bound is not None and is_torchs(bound):
        return _torchs_setting(writer, node, target, value, bound)
    given = argument(writer.text(value), value, writer.facts(value))
    made = _setting_written(writer, node, target, given, writer.facts(target.value))
    return made or _tensor_over_class(writer, target, value)


def _is_users(writer: PartWriter, owner: ast.expr) -> bool:
    """Tell whether a name is written into a file or a class of the user's: it is theirs."""
    bound = writer.source.resolve(owner)
    known = bound is not None and bound.kind in ("module", "thing")
    return known and bound.value.partition(":")[0] in writer.source.files  # type: ignore[union-attr]


def _buffer(writer: PartWriter, target: ast.Attribute, value: ast.expr) -> str | None:
    """Write `self.grid = nn.Buffer(tensor)` as what registers it; None for all else."""
    bound = writer.source.resolve(value.func) if isinstance(value, ast.Call) else None
    if bound is None or _BUFFERS.isdisjoint(bound.names or (bound.value,)):
        return None
    assert isinstance(value, ast.Call)
    given = dict(zip(("data", "persistent"), value.args, strict=False))
    given |= {str(one.arg): one.value for one in value.keywords}
    if given.keys() - {"data", "persistent"} or "data" not in given:
        return None
    kept = f", persistable={writer.text(given['persistent'])}" if "persistent" in given else ""
    owner, data = writer.text(target.value), writer.text(given["data"])
    return f'{owner}.register_buffer("{target.attr}", {data}{kept})'


def _setting_written(
    writer: PartWriter, node: ast.Assign, target: ast.Attribute, value: Argument, facts: Facts
) -> str | None:
    """Return the statement for `target = value`, None where it stays.

    facts: of what the attribute is selected from. Layers of several classes are asked which they
    are, where the attribute has several names in Paddle.
    """
    if not (owner_names(facts) or facts.either):
        return None
    owner = writer.text(target.value)
    if target.attr == "weight" and _share_what_differs(value.text, facts.names):
        return writer.stub(node, ast.unparse(node), _TURNED_AND_NOT)
    if target.attr == "data" and may_be_turned(writer, target.value, [node.value]):
        return writer.stub(node, ast.unparse(target), MAY_BE_TURNED)
    if not facts.either:
        spelled = setting_spelled(owner_names(facts), target.attr, owner, value)
        return None if spelled is None else writer.take(node, spelled)
    kinds: dict[str, list[tuple[str, ...]]] = {}
    for names in facts.either:
        spelled = setting_spelled(names, target.attr, owner, value)
        text = f"{owner}.{target.attr} = {value.text}"
        text = text if spelled is None else writer.take(node, spelled)
        kinds.setdefault(text, []).append(names)
    (first, of_first), *others = kinds.items()
    if not others:
        return first
    return _by_class(writer, node, [(first, of_first), *others], owner)


def _by_class(
    writer: PartWriter,
    node: ast.Assign,
    kinds: Sequence[tuple[str, Sequence[tuple[str, ...]]]],
    owner: str,
) -> str:
    """Return statements that set now this attribute, now that; of the user's own layers last."""
    *asked, (last, _) = sorted(kinds, key=lambda one: () in one[1])
    indent = "\n" + " " * node.col_offset
    lines, word = [], "if"
    for text, classes in asked:
        named = [writer.take(node, value_spelled(names, compared=True)) for names in classes]
        lines += [f"{word} isinstance({owner}, {' | '.join(named)}):", f"    {text}"]
        word = "elif"
    return indent.join([*lines, "else:", f"    {last}"])


def _torchs_setting(
    writer: PartWriter, node: ast.Assign, target: ast.Attribute, value: ast.expr, bound: Binding
) -> str:
    """Leave out a setting of torch's own that moves no value; others have no spelling.

    A method of a new name is given to all layers of Paddle's, too.
    """
    name = (bound.names or (bound.value,))[0]
    if is_new_of_modules(name) and not name.startswith(SETTINGS):
        return f"{writer.text(target.value)}.{target.attr} = {writer.text(value)}"
    if not name.startswith(SETTINGS):
        return writer.stub(node, name, "is torch's own, and is written into")
    note = f"a setting of torch's was left out: {name}"
    writer.needs.notes.append((writer.where(node), note))
    return DROP


def _share_what_differs(given: str, classes: Sequence[str]) -> bool:
    """Tell whether a Linear gets the weight of another kind of layer, or the other way round."""
    of_linear = itself(given) != given
    if not of_linear and not _OF_A_LAYER.search(given):
        return False
    return bool(classes) and _MODULE not in classes and of_linear != (_LINEAR in classes)


def changed(writer: PartWriter, node: ast.AugAssign, sign: str) -> str | None:
    """Write `layers += [...]` and what `_weight_changed` writes: None for all else."""
    if sign == "+" and _LISTS[0] in writer.facts(node.target).names:
        return f"{writer.text(node.target)}.extend({writer.text(node.value)})"  # 2.6 has no `+=`
    return _weight_changed(writer, node, node.target, sign)


def _weight_changed(
    writer: PartWriter, node: ast.AugAssign, target: ast.expr, sign: str
) -> str | None:
    """Write `layer.weight *= x` and `linear.weight.data *= x`: None for all else.

    Paddle's layers take no tensor in a weight's place, and a Linear's stands turned.
    """
    if not isinstance(target, ast.Attribute):
        return None
    facts = writer.facts(target.value)
    of_layer = target.attr in _WEIGHTS and facts.kind == "module" and bool(facts.names)
    if not sign or not (of_layer or (target.attr == "data" and facts.kind == "tensor")):
        return None
    owner = writer.text(target.value)
    read = attribute_spelled(owner_names(facts), target.attr, owner, False)
    text = f"{owner}.{target.attr}" if read is None else writer.take(node, read)
    held = itself(text)
    changed = f"{text} {sign} {in_brackets(writer.text(node.value))}"
    changed = changed if held == text else turned(f"({changed})")
    return f"{held.removesuffix(DATA)}.set_value({changed})"


def layer_at(writer: PartWriter, node: ast.Subscript) -> str | None:
    """Write `layers[-1] = layer` and `del layers[2:]` of a Sequential; None for all else."""
    by_name = isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str)
    if by_name or _KEEPING[0] not in writer.facts(node.value).names:
        return None
    text = f"LayersAt({writer.text(node.value)})[{writer.text(node.slice)}]"
    return writer.take(node, Spelled(text, helpers=frozenset({"LayersAt"})))


def layers_joined(writer: PartWriter, node: ast.BinOp) -> str | None:
    """Write `first + second` of containers of layers, which Paddle's cannot add."""
    for name, template in (_KEEPING, _LISTS):
        if name in writer.facts(node.left).names:
            sides = {"one": writer.text(node.left), "other": writer.text(node.right)}
            return writer.take(node, Spelled(template.format(**sides), imports=_NN))
    return None


def _tensor_over_class(writer: PartWriter, target: ast.Attribute, value: ast.expr) -> str | None:
    """Write `head.stride = tensor` where a class says `stride = None`; None for all else.

    Paddle keeps a tensor that is no parameter among the buffers, and finds the class's value first.
    """
    if not _may_be_tensor(writer, value) or not _of_a_class(writer, target):
        return None
    return _held(writer, target, value, writer.text(value))


def tensors_over_class(writer: PartWriter, node: ast.Assign) -> str | None:
    """Write `self.a, self.b = both` and `self.a = head.a = tensor` likewise; None for all else."""
    if len(node.targets) > 1:
        return _one_by_one(writer, node) if _may_be_tensor(writer, node.value) else None
    target = node.targets[0]
    parts = target.elts if isinstance(target, ast.Tuple) else []
    names = [part.attr for part in parts if isinstance(part, ast.Attribute)]
    owners = {writer.text(part.value) for part in parts if isinstance(part, ast.Attribute)}
    alone = len(names) == len(parts) and len(owners) == 1
    if not alone or not any(_of_a_class(writer, part) for part in parts):
        return None
    given = node.value.elts if isinstance(node.value, ast.Tuple) else ()
    if given and not any(_may_be_tensor(writer, one) for one in given):
        return None
    told = ", ".join(f'"{name}"' for name in names)
    text = f"hold_tensors({owners.pop()}, [{told}], {in_brackets(writer.text(node.value))})"
    return writer.take(target, Spelled(text, helpers=frozenset({"hold_tensors"})))


def _one_by_one(writer: PartWriter, node: ast.Assign) -> str | None:
    """Write an assignment to several targets as one of each; None where no class has the name."""
    if not any(_of_a_class(writer, target) for target in node.targets):
        return None
    lines, value = list[str](), writer.text(node.value)
    for target in node.targets:
        own = isinstance(target, ast.Attribute) and _of_a_class(writer, target)
        text = writer.text(target)
        held = _held(writer, target, node.value, value) if own else ""  # type: ignore[arg-type]  # own: an attribute
        lines.append(held or f"{text} = {value}")
        value = writer.text(node.targets[0])
    return ("\n" + " " * node.col_offset).join(lines)


def _of_a_class(writer: PartWriter, target: ast.expr) -> bool:
    """Tell whether a target is an attribute for which some class of the port has a value."""
    if not isinstance(target, ast.Attribute):
        return False
    cut = writer.cut
    return any(target.attr in cut.sources[one].class_level_names for one in cut.modules)


def _may_be_tensor(writer: PartWriter, value: ast.expr) -> bool:
    """Tell whether a value was a tensor, or is computed of one, or of what is held like one."""
    if not isinstance(value, ast.BinOp):
        return writer.facts(value).kind == "tensor"
    sides = (value.left, value.right)
    return any(_may_be_tensor(writer, one) or _of_a_class(writer, one) for one in sides)


def _held(writer: PartWriter, target: ast.Attribute, value: ast.expr, text: str) -> str:
    """Write that an attribute holds what `text` says; it asks where that may be no tensor."""
    owner = writer.text(target.value)
    if writer.facts(value).kind == "tensor":
        said = Spelled(
            f'hold_tensor({owner}, "{target.attr}", {text})', helpers=frozenset({"hold_tensor"})
        )
    else:
        said = Spelled(
            f'hold_tensors({owner}, ["{target.attr}"], [{text}])',
            helpers=frozenset({"hold_tensors"}),
        )
    return writer.take(target, said)
