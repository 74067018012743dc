"""Attributes of layers and tensors that a statement sets: `layer.padding = 1`."""

import ast
from collections.abc import Sequence

from port.calls import Argument
from port.meanings import setting_spelled, value_spelled
from port.record.facts import Binding, Facts
from port.spelling.names import is_new_of_modules
from port.write.files.texts import DROP
from port.write.owners import owner_names
from port.write.parts import PartWriter

SETTINGS = ("torch.backends.", "torch.nn.Module.dump_patches")  # which move no value


def setting_written(
    writer: PartWriter, node: ast.Assign, target: ast.Attribute, value: Argument, facts: Facts
) -> str | None:
    """Return the statement for `target = value`, None where it stays.

    facts: of what the attribute is selected from. Layers of several classes are asked which they
    are, where the attribute has several names in Paddle.
    """
    owner = writer.text(target.value)
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


def torchs_setting(
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
