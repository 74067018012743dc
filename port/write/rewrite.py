"""The text of a file, with what is torch's respelled where it stands; all else is left as it is.

Inner texts come first: the arguments of a call are Paddle source when the call is spelled.
"""

import ast
from collections.abc import Mapping, Sequence, Set
from typing import Any

from port.calls import NoSpelling, SourceLine, Spelled
from port.cut.branches import taken
from port.cut.cut import Cut
from port.cut.instead import Ours, without_hints
from port.helpers import helper_names
from port.meanings import named, value_spelled
from port.record.facts import Binding, Facts
from port.record.instrument import Span, span_of
from port.source import FUNCTIONS, Source
from port.spelling.frozen import of_frozen
from port.spelling.operators import may_be_respelled, spell_operator
from port.spelling.render import COMPARED
from port.spelling.render import SIGNS as ARITHMETIC
from port.trace.forward import forward_of
from port.trace.graph import TracedClass
from port.write.by_strings import by_key
from port.write.calls import CallWriter, operand_of
from port.write.files.texts import DECORATOR, DROP, DROP_DEFINITION, OWN, in_brackets
from port.write.gaps import Gap, Needs, SpellingChoice
from port.write.imports import SHORT, ImportWriter
from port.write.in_place.pieces import pieces_to_write
from port.write.in_place.states import own_state
from port.write.in_place.uses import (
    of_a_turned_weight,
    read_later,
    written_by_places,
    written_state,
)
from port.write.left_out import LeftOutWriter, note_left_out, run_once
from port.write.match import without_entries
from port.write.owners import (
    asks_for_a_type,
    attribute_read,
    base_of,
    bases_with_modes,
    facts_by_name,
    is_annotation,
    is_future,
    is_left_out,
    is_no_size,
    is_numpys_old,
    is_torchs,
    one_of,
    owner_names,
)
from port.write.parts import TIGHT, argument, picked_of_a_view, placed_in
from port.write.settings import (
    changed,
    layer_at,
    layers_joined,
    pairs_of,
    set_by,
    tensors_over_class,
)
from port.write.torch_like import torch_like

STUB, ABSENT = "not_ported", "Unspelled"
ANYTHING = "object"  # stands in annotations for what has no name in Paddle
SIGNS: dict[type, str] = {**dict(ARITHMETIC), **dict(COMPARED)}
_METHODS = ("__init__", "forward", "__call__")  # which a class of Paddle has under torch's name


class Rewriter:
    """Writes one file; `needs` tells what it found.

    otherwise: the number of the spelling for calls that are not to have their first. in_place:
    calls that are to write into their tensors in Paddle, too.
    """

    def __init__(
        self,
        source: Source,
        cut: Cut,
        otherwise: Mapping[SpellingChoice, int],
        in_place: Set[Span] = frozenset(),
    ) -> None:
        self.source, self.cut, self.otherwise, self.in_place = source, cut, otherwise, in_place
        self.needs = Needs()
        self.stubs: set[tuple[Span, str]] = set()
        self.open_classes: dict[ast.AST, list[str]] = {}  # with the names of their base
        self.calls = CallWriter(self)
        self.left_out = LeftOutWriter(self)
        self.imports = ImportWriter(source, cut)

    def module(self) -> str:
        """Return the text of the whole file, marks of dropped statements still in it."""
        tree, text = self.source.tree, self.source.text
        return self._pieces(0, len(text), self._children(tree))

    # Walking

    def text(self, node: Any) -> str:
        """Return the Paddle text of a node."""
        if is_left_out(self.source, node):
            return DECORATOR
        if node in self.cut.replaced:
            return self._ours(node, *self.cut.replaced[node])
        handler = getattr(self, f"_{type(node).__name__}", None)
        made = None if handler is None else handler(node)
        return self.inside(node) if made is None else made

    def _ours(self, node: ast.AST, ours: Ours, name: str) -> str:
        """Write what is ours in place of a definition, without methods that nothing selects."""
        names = self.cut.used_by_ours.get(ours.module, set()) - self.cut.names[ours.module]
        lines, helpers = ours.needs(names)
        self.take(node, Spelled("", frozenset(lines), frozenset(helpers), (ours.note(name),)))
        return without_hints(Rewriter(ours, self.cut, {}).text(ours.definitions[name]))

    def inside(self, node: Any) -> str:
        """Return a node's own text with its parts respelled."""
        start, end = self.extent(node)
        return self._pieces(start, end, self._children(node))

    def extent(self, node: Any) -> tuple[int, int]:
        """Return where a node stands; a definition begins with its decorators."""
        start, end = self.source.extent(node)
        decorators = getattr(node, "decorator_list", None)
        if decorators:
            first = min(self.source.extent(one)[0] for one in decorators)
            start = self.source.text.rindex(b"@", 0, first)
        return start, end

    def _children(self, node: ast.AST) -> list[Any]:
        if isinstance(node, ast.JoinedStr):
            return []
        return sorted(placed_in(node), key=lambda child: self.extent(child)[0])

    def _pieces(self, start: int, end: int, children: list[Any]) -> str:
        pieces, place = [], start
        for child in children:
            first, last = self.extent(child)
            if first < place:  # a name that stands twice in the tree, as in `{**kwargs}`
                continue
            if (end_of := self.cut.silent.get(child)) is not None:
                text, last = self.left_out.block(child, end_of), self.extent(end_of)[1]
            else:
                text = self.text(child)
            pieces += [self._raw(place, first), text]
            place = last
        return "".join([*pieces, self._raw(place, end)])

    def _raw(self, start: int, end: int) -> str:
        return self.source.text[start:end].decode("utf-8")

    # Statements

    def _is_dropped(self, node: ast.AST) -> bool:
        parent = self.source.parents.get(node)
        if isinstance(parent, ast.Module):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                return False
            return node not in self.cut.kept and not is_future(node)
        if isinstance(parent, ast.ClassDef) and isinstance(node, FUNCTIONS):
            return node not in self.cut.kept
        return False

    def _FunctionDef(self, node: ast.FunctionDef) -> str | None:
        if self._is_dropped(node):
            note_left_out(self, node)
            return DROP_DEFINITION
        traced = self.cut.traced.forwards.get(node)
        return None if traced is None else self._traced(node, traced)

    _AsyncFunctionDef = _FunctionDef

    def _ClassDef(self, node: ast.ClassDef) -> str | None:
        if self._is_dropped(node):
            return DROP_DEFINITION
        if node in self.cut.unmade:
            return self.left_out.unmade_class(node)
        if once := run_once(self, node):
            return once
        calls = (one for one in ast.walk(node) if isinstance(one, ast.Call))
        if names := next(filter(None, map(self.calls.open_constructor, calls)), None):
            self.open_classes[node] = names
        traced = self.cut.traced.classes.get(node)
        if traced is None or traced in self.cut.traced.forwards.values():
            return None
        indent = " " * (node.col_offset + 4)
        head = f"{indent}def forward{traced.signature}:"
        return f"{self.inside(node)}\n\n{head}{self._body(node, traced, indent + 4 * ' ')}"

    def _traced(self, node: ast.FunctionDef, traced: TracedClass) -> str:
        """Write a forward whose body comes from its class's graphs."""
        documented = ast.get_docstring(node) is not None and len(node.body) > 1
        start, end = self.extent(node)[0], self.extent(node.body[documented])[0]
        children = [one for one in self._children(node) if self.extent(one)[1] <= end]
        head = self._pieces(start, end, children).rstrip()
        return head + self._body(node, traced, " " * (node.col_offset + 4))

    def _body(self, node: ast.AST, traced: TracedClass, indent: str) -> str:
        forward = forward_of(traced, lambda spelled: self.take(node, spelled))
        self.needs.traced.append((self.where(node), f"`{traced.name}.forward`: {forward.limits}"))
        lines = ["# Written from the traced graph, see PORT.md.", *forward.lines]
        return "".join(f"\n{indent}{line}" for line in lines)

    def _Import(self, node: ast.Import) -> str:
        return DROP if self._is_dropped(node) else self.imports.written(node)

    def _ImportFrom(self, node: ast.ImportFrom) -> str:
        return DROP if self._is_dropped(node) else self.imports.written(node)

    def _Assign(self, node: ast.Assign) -> str | None:
        if self._is_dropped(node):
            return self._dropped_or_none(node)
        if isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            return self.imports.all_names(node)
        pairs = pairs_of(node)
        settings = [set_by(self, node, target, value) for target, value in pairs]
        if not any(settings):
            return tensors_over_class(self, node)
        lines = [
            one or f"{self.text(target)} = {self.text(value)}"
            for one, (target, value) in zip(settings, pairs, strict=True)
        ]
        return ("\n" + " " * node.col_offset).join(lines)

    def _dropped_or_none(self, node: ast.AST) -> str | None:
        """Leave out a statement, in a file of a library with the comment above it."""
        with_comment = DROP_DEFINITION if self.source.record.library else DROP
        return with_comment if self._is_dropped(node) else None

    _AnnAssign = _Expr = _For = _While = _With = _Delete = _Assert = _dropped_or_none
    _Try = _dropped_or_none

    def _If(self, node: ast.If) -> str | None:
        return self._dropped_or_none(node) or self._branch_taken(node)

    def _branch_taken(self, node: ast.If) -> str | None:
        """Write the branch that ran at the top of a library's file, and the `if` no more."""
        block = taken(self.source, node)
        if not block:
            return None
        text = self._pieces(self.extent(block[0])[0], self.extent(block[-1])[1], list(block))
        first = "\n" if isinstance(block[0], FUNCTIONS | ast.ClassDef) else ""
        return first + text.replace("\n" + " " * block[0].col_offset, "\n")

    def _AugAssign(self, node: ast.AugAssign) -> str | None:
        """Paddle's `x += y` makes a new tensor: other names of x get it, a caller's its values."""
        if self._is_dropped(node):
            return DROP
        if made := changed(self, node, SIGNS.get(type(node.op), "")):
            return made
        written = self.source.record.written.get(span_of(node))
        if not written or not isinstance(node.target, ast.Name):
            return None
        name, sign = node.target.id, SIGNS[type(node.op)]
        value, operand = self.text(node.value), operand_of(self, node)
        if span_of(node) in self.in_place:
            made = f"write_into({name}, {name}.clone() {sign} {in_brackets(operand)})"
            return self.take(node, Spelled(made, helpers=frozenset({"write_into"})))
        others = read_later(self.source, node, written - {name})
        more = "".join(f"\n{' ' * node.col_offset}{other} = {name}" for other in others)
        if operand != value:
            return f"{name} {sign}= {operand}{more}"
        return self.inside(node) + more if others else None

    # Expressions

    def _BinOp(self, node: ast.BinOp) -> str | None:
        if isinstance(node.op, ast.Add) and (joined := layers_joined(self, node)):
            return joined
        if isinstance(node.op, ast.BitOr) and is_annotation(self.source, node):
            either = [self.text(node.left), self.text(node.right)]  # a device is a string, too
            return either[0] if either[0] == either[1] else None
        return self._operator(node, node.op, node.left, node.right)

    def _Compare(self, node: ast.Compare) -> str | None:
        if len(node.ops) > 1:
            return None
        if isinstance(node.ops[0], ast.Eq | ast.NotEq) and (made := self._of_sizes(node)):
            return made
        return self._operator(node, node.ops[0], node.left, node.comparators[0])

    def _of_sizes(self, node: ast.Compare) -> str | None:
        """Compare a size with a tuple: Paddle's shape may be a list, which equals none."""
        sides = [node.left, node.comparators[0]]
        texts = [self.text(one) for one in sides]
        tuples = [is_no_size(one, self.facts(one), t) for one, t in zip(sides, texts, strict=True)]
        if self.facts(sides[tuples[0]]).kind != "size" or sum(tuples) != 1:
            return None
        texts[tuples[0]] = f"tuple({texts[tuples[0]]})"
        between = self._raw(self.extent(sides[0])[1], self.extent(sides[1])[0])
        return f"{texts[0]}{between}{texts[1]}"

    def _operator(self, node: ast.expr, sign: Any, left: ast.expr, right: ast.expr) -> str | None:
        """Turn one of two operands into the other's type where torch does, and Paddle does not."""
        facts = [self.facts(left), self.facts(right)]
        if type(sign) not in SIGNS or not may_be_respelled(SIGNS[type(sign)], *facts):
            return None
        sides = [
            argument(self.text(one), one, f) for one, f in zip((left, right), facts, strict=True)
        ]
        spelled = spell_operator(SIGNS[type(sign)], *sides)
        return None if spelled is None else self.take(node, spelled)

    def _Call(self, node: ast.Call) -> str | None:
        of_state = own_state(self, node) or written_state(self, node)
        return of_state or pieces_to_write(self, node) or self.calls.written(node)

    def _Dict(self, node: ast.Dict) -> str | None:
        off = self.cut.rows_off(self.source, node)
        return without_entries(self, node, off) if off else None

    def _Name(self, node: ast.Name) -> str | None:
        if not isinstance(node.ctx, ast.Load):
            return None
        bound = self.source.resolve(node)
        if bound is not None and is_torchs(bound):
            return self.value(node, bound) if self.source.is_imported(node) else None
        own = node.id in {*helper_names(), *SHORT} and self.imports.is_own(node.id)
        return self._left_out(node) or (f"{node.id}{OWN}" if own else None)

    def _left_out(self, node: ast.Name) -> str | None:
        """Return a stub for a library's name that only code refers to that did not run."""
        if self.cut.left_out(self.source, node):
            return self.stub(node, node.id, "did not run, and was left out with its library")
        return None

    def _Attribute(self, node: ast.Attribute) -> str | None:
        bound = self.source.resolve(node)
        if bound is not None and is_torchs(bound) and self.source.is_imported(node):
            return self.value(node, bound)
        if is_numpys_old(bound):
            return "bool" if node.attr == "bool8" else node.attr
        facts = self.facts(node.value)
        names = owner_names(facts)
        if not isinstance(node.ctx, ast.Load) or not (names or facts.either):
            return None
        if facts.either:
            return self._of_one_of(node, facts.either)
        parent, record = self.source.parents.get(node), self.cut.record
        item = isinstance(parent, ast.Subscript) and node is parent.value
        spelled = attribute_read(record, names, node.attr, self.text(node.value), item)
        if spelled is None:
            return None
        return self.placed(node, self.take(node, spelled))

    def _of_one_of(self, node: ast.Attribute, classes: Sequence[tuple[str, ...]]) -> str | None:
        """Return an attribute of layers of several classes, by its name in each."""
        owner, record = self.text(node.value), self.cut.record
        of_each = [(n, attribute_read(record, n, node.attr, owner, False)) for n in classes]
        *others, (_, last) = sorted(of_each, key=lambda one: one[1] is None)
        if last is None and not any(spelled for _, spelled in others):
            return None
        text = self.take(node, last) if last else f"{owner}.{node.attr}"
        kinds: dict[str, list[str]] = {}
        for names, spelled in others:
            one = self.take(node, spelled) if spelled else f"{owner}.{node.attr}"
            if one != text:
                kind = self.take(node, value_spelled(names, compared=True))
                kinds.setdefault(one, []).append(kind)
        if kinds and not isinstance(node.value, ast.Name):
            return self.stub(node, ast.unparse(node), "layers of several classes come here")
        for one, of_kind in kinds.items():
            text = f"{one} if isinstance({owner}, {' | '.join(of_kind)}) else {text}"
        parent = self.source.parents.get(node)
        if not kinds:
            return self.placed(node, text)
        return text if isinstance(parent, ast.Call) and node in parent.args else f"({text})"

    def _Subscript(self, node: ast.Subscript) -> str | None:
        """A slice of torch's Sequential keeps its keys, Paddle's counts anew."""
        part = node.slice
        whole = isinstance(node.value, ast.Attribute) and node.value.attr == "__dict__"
        if whole and isinstance(part, ast.Constant) and part.value == "_modules":
            return f'{self.text(node.value)}["_sub_layers"]'
        if not isinstance(node.ctx, ast.Load):
            of_weight = of_a_turned_weight(self, node)
            return of_weight or layer_at(self, node) or written_by_places(self, node)
        if named := by_key(self, node):
            return named
        if is_annotation(self.source, node) and self.text(node.value) == ANYTHING:
            return ANYTHING
        if not isinstance(part, ast.Slice) or part.lower is None:
            return picked_of_a_view(self, node)
        if "torch.nn.Sequential" not in self.facts(node.value).names:
            return None
        ends = [part.lower, part.upper, *([part.step] if part.step else [])]
        texts = ["None" if end is None else self.text(end) for end in ends]
        self.needs.helpers.add("part_of")
        return f"part_of({self.text(node.value)}, slice({', '.join(texts)}))"

    def value(self, node: ast.expr, bound: Binding) -> str:
        """Return the Paddle name of what is torch's and stands as a value."""
        names = bound.names or (bound.value,)
        return bases_with_modes(self, node, names, self._value) or self._value(node, names)

    def _value(self, node: ast.expr, names: tuple[str, ...]) -> str:
        base = self.open_classes.get(self.source.parents[node], ())
        if set(names) & set(base) and (made := self.torch_like(node, names)):
            return made
        if inherited := base_of(names, self.source.parents[node]):
            return self.take(node, named(inherited))
        if names == ("torch",):
            self.needs.imports.add("import paddle")
            return "paddle"
        try:
            hint = is_annotation(self.source, node)
            text = self.take(node, value_spelled(names, self._is_compared(node) or hint))
            return one_of(text) if hint else text
        except NoSpelling as error:
            if isinstance(node, ast.Attribute) and (
                node.attr in _METHODS or ast.unparse(node.value).endswith("__version__")
            ):
                return f"{self.text(node.value)}.{node.attr}"
            if is_annotation(self.source, node):
                return ANYTHING
            return self.stub(node, names[0], error.reason)

    def _is_compared(self, node: ast.AST) -> bool:
        """Tell whether a class stands in `isinstance(x, ...)`, `list[...]`, or as a base."""
        parent = self.source.parents.get(node)
        while isinstance(parent, ast.Tuple | ast.BinOp):
            parent = self.source.parents.get(parent)
        asked = asks_for_a_type(parent)
        return asked or isinstance(parent, ast.Compare | ast.ClassDef | ast.Subscript)

    # What spellings need

    def take(self, node: ast.AST, spelled: Spelled) -> str:
        """Return the text of a spelling, and note what it needs."""
        spelled = of_frozen(spelled, self.cut.record.frozen)
        self.needs.imports |= spelled.imports
        self.needs.helpers |= spelled.helpers
        self.needs.notes += [(self.where(node), note) for note in spelled.notes]
        return self.imports.without_clashes(spelled.text, spelled.helpers)

    def torch_like(self, node: ast.AST, names: Sequence[str]) -> str | None:
        """Return the name of a class that takes torch's arguments, None without one."""
        made = torch_like(names)
        if made is None:
            return None
        self.needs.classes[made.name] = made
        self.needs.helpers.add(made.name)
        return made.name

    def stub(self, node: ast.AST, api: str, reason: str) -> str:
        """Return what raises when it is reached, and note the gap."""
        where, place = self.where(node), (span_of(node), api)
        if place not in self.stubs:  # a text may be asked for more than once
            self.needs.gaps.append(Gap(where, api, reason, self.source.was_reached(node)))
        self.stubs.add(place)
        self.needs.helpers.add(STUB)
        return f'{STUB}("{api}", "{where.file.name}:{where.line}")'

    def absent(self, node: ast.AST, api: str) -> str:
        """Return what stands for a value without a spelling that is not called here."""
        where = self.where(node)
        self.needs.notes.append((where, f"{api} has no spelling, and raises where it is used"))
        self.needs.helpers.add(ABSENT)
        return f'{ABSENT}("{api}", "{where.file.name}:{where.line}")'

    def placed(self, node: ast.AST, text: str) -> str:
        """Return `text` in brackets where its neighbours need them."""
        parent = self.source.parents.get(node)
        tight = isinstance(parent, TIGHT)
        owner = isinstance(parent, ast.Subscript | ast.Call) and (
            node is getattr(parent, "value", None) or node is getattr(parent, "func", None)
        )
        return in_brackets(text) if tight or owner else text

    def where(self, node: Any) -> SourceLine:
        """Return the file and line of a node."""
        return SourceLine(self.source.record.path, node.lineno)

    def facts(self, node: ast.AST) -> Facts:
        """Return what was recorded of the value of an expression."""
        span = span_of(node)
        if isinstance(node, ast.Call):
            seen = self.source.record.calls.get(span, [])
            return seen[0].result if len(seen) == 1 else Facts()
        return self.source.record.values.get(span) or facts_by_name(self.source, node)
