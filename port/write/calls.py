"""One call of the reference, respelled: who was called is known from the recording."""

import ast
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from port.calls import Argument, NoSpelling, Spelled, TorchCall
from port.meanings import (
    call_spelled,
    named,
    other_spellings,
    part_spelled,
    takes_torchs_arguments,
    value_spelled,
)
from port.record.facts import GETATTR, Facts, SeenCall
from port.record.instrument import span_of
from port.spelling.operators import spell_operand
from port.write.by_strings import BY_STRINGS
from port.write.files.texts import in_brackets
from port.write.gaps import SpellingChoice
from port.write.in_place.uses import of_a_part, read_later
from port.write.match import matched
from port.write.open_calls import handed_on, without_stars
from port.write.owners import LISTS, is_taken_in_turn, read_by_place, thawing, torch_has
from port.write.parts import PartWriter, argument
from port.write.standing import AS_TORCHS, called, held_by_partial, instead, made_by_partial
from port.write.torch_like import draws_its_own, torch_like

INIT, CALLED = ".__init__", ".__call__"
HASATTR = "builtins:hasattr"
IN_PLACE = {"torch.nn.ReLU": "ReLUInPlace", "torch.nn.functional.relu": "F.relu_"}
# Methods that only tensors have: where nothing was recorded, their name tells.
# fmt: off
_ONLY_TENSORS = frozenset({
    "view", "permute", "contiguous", "unsqueeze", "transpose", "expand", "expand_as", "view_as",
    "masked_fill", "masked_fill_", "flatten", "squeeze", "numel", "new_zeros", "new_ones",
    "new_full", "new_tensor", "chunk", "matmul", "bmm", "requires_grad_", "softmax", "sigmoid",
    "argmax", "detach", "index_select", "gather", "scatter_", "fill_", "zero_", "normal_",
    "uniform_", "type_as", "repeat_interleave", "narrow", "unfold", "roll", "cumsum", "clamp",
    "clamp_", "reshape_as",
})
# These only layers have.
_ONLY_MODULES = frozenset({
    "load_state_dict", "named_modules", "add_module", "register_parameter", "modules",
    "register_buffer", "parameters", "named_parameters",
})
# fmt: on
_OF_SELF = frozenset({"requires_grad_", "zero_grad", "train"})  # of modules, others, too
# Functions that write in place and have a spelling that makes a new tensor.
_MADE_ANEW = ("torch.nn.functional.", "torch.relu")


class CallWriter:
    """Writes the calls of one file; `rewriter` writes what stands inside them."""

    def __init__(self, rewriter: PartWriter) -> None:
        self.rewriter = rewriter
        self.source = rewriter.source

    def written(self, node: ast.Call) -> str | None:
        """Return the text of a call, None where only its parts change."""
        seen = self.source.record.calls.get(span_of(node), [])
        if not seen:
            return self._unseen(node)
        torchs = [one for one in seen if one.names]
        if not torchs:
            return self._users(node, seen)
        texts = [self._in_place(node, one, self._respelled(node, one)) for one in torchs]
        if len(torchs) < len(seen):
            texts.append(self.rewriter.inside(node))
        if len(set(texts)) > 1:
            return self._by_class(node, torchs, texts)
        return self._explicit(node, torchs, texts[0])

    def _by_class(self, node: ast.Call, torchs: list[SeenCall], texts: list[str]) -> str:
        """Ask as it runs which class or function a name holds, where Paddle calls them apart.

        texts: of `torchs` in their order, then of what is not torch's, if that was called, too.
        """
        once = any(
            isinstance(part, ast.Call) and not self._is_getattr(part)
            for part in ast.walk(node.func)
        )
        if once or (_is_open(node) and any(t.startswith(f"{AS_TORCHS}(") for t in texts)):
            made = [self.rewriter.torch_like(node, one.names) for one in torchs]
            if all(made):
                return self._as_torchs(node, list(filter(None, made)))
        names = ", ".join(sorted({one.names[0] for one in torchs}))
        held = not (once or any(one.partial or one.built or one.receiver for one in torchs))
        try:
            aliases = [value_spelled(one.names).text for one in torchs] if held else []
        except NoSpelling:
            aliases = []
        if not aliases or len(set(aliases)) < len(torchs):
            reason = "several are called here, and Paddle calls them apart"
            return self.rewriter.stub(node, names, reason)
        function, last = self.rewriter.text(node.func), len(texts) - 1
        text = texts[last]
        for alias, one in reversed(list(zip(aliases[:last], texts[:last], strict=True))):
            self.rewriter.take(node, named(alias))
            text = f"{one} if {function} is {alias} else {text}"
        return f"({text})"

    def _is_getattr(self, node: ast.Call) -> bool:
        seen = self.source.record.calls.get(span_of(node), [])
        return all(one.whose == GETATTR for one in seen)

    # What was recorded

    def _respelled(self, node: ast.Call, seen: SeenCall) -> str:
        names = seen.names
        most = 2 if seen.receiver is None else 1  # of `nn.Conv2d.forward(self, x)`
        if names[0].endswith((CALLED, ".forward")) and len(node.args) <= most and not node.keywords:
            return self.rewriter.inside(node)
        if names[0].endswith(CALLED):
            return self._spelled(node, names, self._layer_call(node, seen), seen)
        if all(name.startswith("torch.nn.modules.module.Module.__init__") for name in names[-1:]):
            return self.rewriter.inside(node)
        if any(name.endswith(INIT) for name in names):
            return self._constructor(node, seen)
        if seen.receiver is not None and isinstance(node.func, ast.Attribute):
            return self._spelled(node, names, self._method(node, seen), seen)
        call = self._call(node, names, seen, node.args)
        named = self.source.resolve(node.func)
        static = named is not None and self.source.is_imported(node.func)
        if static and not seen.built:
            return self._spelled(node, names, call, seen)
        return self._by_value(node, names, call, seen)

    def _constructor(self, node: ast.Call, seen: SeenCall) -> str:
        """Spell `super().__init__(...)` of a class of torch as the class itself is called."""
        names = [name.removesuffix(INIT) for name in seen.names]
        if "torch.nn.Module" in names or names[-1].endswith("module.Module"):
            return self.rewriter.inside(node)
        explicit = seen.receiver is None
        arguments = node.args[1:] if explicit else node.args
        shifted = SeenCall(**{**vars(seen), "positional": seen.positional[explicit:]})
        call = self._call(node, names, shifted, arguments)
        function = self.rewriter.text(node.func)
        first = self.rewriter.text(node.args[0]) if explicit else ""
        text = self._with_function(node, names, call, function, first)
        if not draws_its_own(self.source, node, names):
            return text
        return f"{text}\n{' ' * node.col_offset}self.reset_parameters()"

    def _by_value(self, node: ast.Call, names: Any, call: TorchCall, seen: SeenCall) -> str:
        """Spell a call of a variable that holds a class or function of torch."""
        through = seen if seen.partial else None
        return self._with_function(node, names, call, self.rewriter.text(node.func), "", through)

    def _with_function(
        self,
        node: ast.Call,
        names: Any,
        call: TorchCall,
        function: str,
        first: str,
        through: SeenCall | None = None,
    ) -> str:
        """Spell a call whose function keeps its text; `through`: of a call in two parts."""
        alike = takes_torchs_arguments(names, call)
        try:
            if through is None:
                spelled = self._spelled_or_closed(node, names, call)
            else:
                given, held = {*through.through}, held_by_partial(through)
                spelled = self._or_closed(node, call, lambda c: part_spelled(names, c, given, held))
            tree = ast.parse(spelled.text.strip(), mode="eval").body
            alias = value_spelled([name.removesuffix(CALLED) for name in names]).text
        except NoSpelling as error:
            if alike or (_is_open(node) and self._base_takes_all(node, names)):
                return self.rewriter.inside(node)
            by_value = _is_open(node) and through is None and not first
            if by_value and (made := self.rewriter.torch_like(node, names)):
                return self._as_torchs(node, [made])
            return self.rewriter.stub(node, names[0], error.reason)
        if not isinstance(tree, ast.Call) or ast.unparse(tree.func) != alias:
            if alike or alias.startswith("(lambda: "):  # of torch's, and always the same
                return self.rewriter.inside(node)
            if through and through.through:
                own = (
                    function if made_by_partial(names, call, through, alias) == called(tree) else ""
                )
            else:
                own = instead(tree, alias, first or function)
            if own:
                self.rewriter.take(node, named(own))
                function, first = (function, own) if first else (own, "")
                return self._called(node, spelled, call, function, first)
            return self.rewriter.stub(
                node, names[0], f"is {spelled.text} in Paddle, and not called by name"
            )
        return self._called(node, spelled, call, function, first)

    def _called(
        self, node: ast.Call, spelled: Spelled, call: TorchCall, function: str, first: str
    ) -> str:
        """Return the call of `function` with the arguments of a spelling, `first` before them."""
        tree = ast.parse(spelled.text.strip(), mode="eval").body
        assert isinstance(tree, ast.Call)
        inside = spelled.text.strip()[len(ast.unparse(tree.func)) :]
        if first:
            inside = f"({first}{', ' if tree.args or tree.keywords else ''}{inside[1:]}"
        values = [*tree.args, *(keyword.value for keyword in tree.keywords)]
        needed = named(ast.unparse(ast.Tuple(values, ast.Load())))
        taken = replace(needed, text=f"{function}{inside}", notes=spelled.notes)
        text = self.rewriter.take(node, taken)
        return text if first else matched(self.rewriter, node, call, text)

    def _as_torchs(self, node: ast.Call, made: list[str]) -> str:
        """Call what a variable holds with arguments that nobody counts, in torch's order.

        made: the classes that take them so; what is not torch's is called as it was.
        """
        known = ", ".join(dict.fromkeys(made))
        function = named(f"{AS_TORCHS}({self.rewriter.text(node.func)}, {known})")
        return self.rewriter.take(node, function) + self._inside_brackets(node)

    def _method(self, node: ast.Call, seen: SeenCall) -> TorchCall:
        assert isinstance(node.func, ast.Attribute)
        owner = node.func.value
        receiver = argument(self.rewriter.text(owner), owner, seen.receiver or Facts())
        return self._call(node, seen.names, seen, node.args, receiver)

    def _layer_call(self, node: ast.Call, seen: SeenCall) -> TorchCall:
        """Return the call of a layer, which is its receiver: `self.up(x, output_size=size)`."""
        receiver = argument(self.rewriter.text(node.func), node.func, seen.receiver or Facts())
        return self._call(node, seen.names, seen, node.args, receiver)

    def _call(
        self,
        node: ast.Call,
        names: Any,
        seen: SeenCall,
        args: Any,
        receiver: Argument | None = None,
    ) -> TorchCall:
        given, starred = [], False
        for number, one in enumerate(args):
            if isinstance(one, ast.Starred):
                starred = True
                given.append(self._starred(one, seen if number == 0 else SeenCall()))
                continue
            known = not starred and number < len(seen.positional)
            facts = seen.positional[number] if known else Facts()
            given.append(argument(self.rewriter.text(one), one, facts))
        for keyword in node.keywords:
            text = self.rewriter.text(keyword.value)
            if keyword.arg is None:
                given.append(Argument(text, star="**", value=tuple(sorted(seen.keywords))))
            else:
                facts = seen.keywords.get(keyword.arg, Facts())
                given.append(argument(text, keyword.value, facts, keyword.arg))
        result = argument("", None, seen.result)
        return TorchCall(names[0], tuple(given), self.rewriter.where(node), receiver, result)

    def _starred(self, node: ast.Starred, seen: SeenCall) -> Argument:
        """Return `*values`; its first where it held one list alone, which torch takes as well."""
        text, held = self.rewriter.text(node.value), seen.positional
        if len(held) == 1 and held[0].kind in ("list", "tuple") and not seen.ragged:
            return argument(f"{in_brackets(text)}[0]", None, held[0])
        return Argument(text, star="*", kind="list")

    def _spelled(self, node: ast.Call, names: Any, call: TorchCall, seen: SeenCall) -> str:
        if span_of(node) in self.rewriter.in_place and names[0] in IN_PLACE:
            inside = call.arguments[0].text if names[0].startswith("torch.nn.functional.") else ""
            return self.rewriter.take(node, named(f"{IN_PLACE[names[0]]}({inside})"))
        if part := of_a_part(self.rewriter, node, call, self._method):
            return part
        loop = self.source.parents.get(node)
        helper = thawing(node, names[0], loop) or read_by_place(self.source, node, seen)
        if call.receiver and helper:
            text = self.rewriter.take(node, named(f"{helper}({call.receiver.text})"))
            return f"iter({text})" if is_taken_in_turn(node, loop) else text
        try:
            spelled = self._spelled_or_closed(node, names, call)
        except NoSpelling as error:
            if names[0].startswith("torch.nn.Module.") or names[0].endswith(CALLED):
                return self.rewriter.inside(node)
            if _is_open(node) and (made := self.rewriter.torch_like(node, names)):
                return made + self._inside_brackets(node)
            return self.rewriter.stub(node, names[0], error.reason)
        text = self.rewriter.take(node, spelled)
        if names[0] in LISTS and is_taken_in_turn(node, self.source.parents.get(node)):
            return f"iter({text})"
        return self.rewriter.placed(node, matched(self.rewriter, node, call, text))

    def _spelled_or_closed(self, node: ast.Call, names: Any, call: TorchCall) -> Spelled:
        """Spell a call; of `**kwargs` the keywords that were given as it ran, and no others."""
        first = self._or_closed(node, call, lambda one: call_spelled(names, one))
        return self._chosen(node, names, call, first)

    def _or_closed(
        self, node: ast.Call, call: TorchCall, ask: Callable[[TorchCall], Spelled]
    ) -> Spelled:
        try:
            return ask(call)
        except NoSpelling:
            ways = self.source.record.calls.get(span_of(node), [])
            known = bool(ways) and not any(one.ragged for one in ways if one.names)
            if (not known or len(ways) > 1) and (handed := self._handed_on(ways, call, ask)):
                return handed
            closed = without_stars(call) if known else None
            if closed is None:
                raise
            facts = next((one.keywords for one in ways if call.api in one.names), {})
            return closed.spelled(ask(_with_facts(closed.call, facts)))

    def _handed_on(
        self, ways: list[SeenCall], call: TorchCall, ask: Callable[[TorchCall], Spelled]
    ) -> Spelled | None:
        """Return a call that hands its `**` on to whichever of its classes is called."""
        torchs = [one for one in ways if one.names and not one.partial]
        if len(torchs) < len(ways):
            torchs = []
        spelled_as = [[name.removesuffix(INIT) for name in one.names] for one in torchs]
        return handed_on(
            call,
            ask,
            [one.keywords for one in torchs] or [dict.fromkeys(_held(call), Facts())],
            lambda number, c: call_spelled(spelled_as[number], c) if torchs else ask(c),
        )

    def _chosen(self, node: ast.Call, names: Any, call: TorchCall, first: Spelled) -> Spelled:
        """Return the spelling that a repair chose, the first where it chose none."""
        others = other_spellings(names, call)
        if not others:
            return first
        backward = frozenset(n for n, one in enumerate(others, 1) if one.backward)
        inside = self.source.definition_around(node)
        choice = SpellingChoice(
            call.where, node.col_offset, names[0], len(others), inside, backward
        )
        self.rewriter.needs.choices.append(choice)
        return (first, *others)[self.rewriter.otherwise.get(choice, 0)]

    def _inside_brackets(self, node: ast.Call) -> str:
        """Return the arguments of a call as they are, in their brackets."""
        function = self.rewriter.text(node.func)
        return self.rewriter.inside(node)[len(function) :]

    def open_constructor(self, node: ast.Call) -> list[str] | None:
        """Return the names of the class whose constructor is handed what nobody counts.

        None where the call can be spelled, or is none of a base's constructor.
        """
        ways = self.source.record.calls.get(span_of(node), [])
        if len(ways) != 1 or not _is_open(node) or not ways[0].names:
            return None
        names = [name.removesuffix(INIT) for name in ways[0].names if name.endswith(INIT)]
        if not names or "torch.nn.Module" in names or not torch_like(names):
            return None
        explicit = ways[0].receiver is None
        shifted = SeenCall(**{**vars(ways[0]), "positional": ways[0].positional[explicit:]})
        try:
            call = self._call(node, names, shifted, node.args[explicit:])
            self._or_closed(node, call, lambda one: call_spelled(names, one))
        except NoSpelling:
            return names
        return None

    def _base_takes_all(self, node: ast.Call, names: Any) -> bool:
        """Tell whether a class has a base that takes torch's arguments, for `super().__init__`."""
        place: Any = node
        while place is not None and not isinstance(place, ast.ClassDef):
            place = self.source.parents.get(place)
        return place is not None and place in self.rewriter.open_classes

    # What was not

    def _unseen(self, node: ast.Call) -> str | None:
        """Spell a call that did not run, where its name tells what it calls."""
        nothing = SeenCall()
        named = self.source.resolve(node.func)
        if named is not None and self.source.is_imported(node.func):
            names = named.names or (named.value,)
            return self._spelled(node, names, self._call(node, names, nothing, node.args), nothing)
        if isinstance(node.func, ast.Attribute) and _is_of_module(node.func):
            names = (f"torch.nn.Module.{node.func.attr}",)
            seen = SeenCall(names, receiver=Facts("module"))
            return self._spelled(node, names, self._method(node, seen), seen)
        if isinstance(node.func, ast.Attribute) and node.func.attr in _ONLY_TENSORS:
            if self.source.did_run(node):  # it was reached, and no tensor's
                return None
            names = (f"torch.Tensor.{node.func.attr}",)
            seen = SeenCall(names, receiver=Facts("tensor"))
            return self._spelled(node, names, self._method(node, seen), seen)
        return None

    def _users(self, node: ast.Call, seen: list[SeenCall]) -> str | None:
        """Write a call of what is not torch's: its arguments change; a partial names its class."""
        if all(one.whose == "functools:partial" for one in seen) and node.args:
            return self._partial(node, seen[0])
        if all(one.whose == HASATTR for one in seen) and (found := torch_has(node, seen)):
            return found
        for whose, write in BY_STRINGS.items():
            if all(one.whose == whose for one in seen):
                return write(self.rewriter, node, seen)
        written = {alias for one in seen for alias in one.aliases}
        late = read_later(self.source, node, written) if written else []
        if late and not any(one.writers for one in seen):  # what wrote is not known by its place
            self._note_write(node, late[0])
        return None

    def _partial(self, node: ast.Call, seen: SeenCall) -> str | None:
        """Spell `partial(nn.LayerNorm, eps=1e-6)`: the arguments as the class takes them."""
        names = seen.positional[0].names
        if not names or seen.positional[0].kind == "module":
            return None
        rest = SeenCall(**{**vars(seen), "positional": seen.positional[1:]})
        call = self._call(node, names, rest, node.args[1:])
        function = self.rewriter.text(node.func)
        first = self.rewriter.text(node.args[0])
        return self._with_function(node, names, call, function, first, SeenCall())

    # Writes in place

    def _in_place(self, node: ast.Call, seen: SeenCall, text: str) -> str:
        """Let a layer or a function write into its input where the caller of the code sees it."""
        name = seen.names[0]
        known = name in IN_PLACE and any(word in text for word in IN_PLACE.values())
        if span_of(node) not in self.rewriter.in_place or known:
            return text
        if name.startswith("torch.nn.functional."):
            tree = ast.parse(text.strip(), mode="eval").body
            function = ast.unparse(tree.func) if isinstance(tree, ast.Call) else ""
            if not function or not text.startswith(f"{function}("):
                self._note_write(node, ast.unparse(node.args[0]))
                return text
            return self._kept_write(node, f"into({function}){text[len(function) :]}")
        if name.startswith("torch.nn.") and seen.result.kind == "module":
            return self._kept_write(node, f"in_place({text})")
        return text

    def _kept_write(self, node: ast.Call, text: str) -> str:
        """Return a text that writes in place; nothing of the call was left out, then."""
        where, needs = self.rewriter.where(node), self.rewriter.needs
        needs.notes = [n for n in needs.notes if n[0] != where or not n[1].startswith("inplace=")]
        return self.rewriter.take(node, named(text))

    def _note_write(self, node: ast.Call, name: str) -> None:
        where = self.rewriter.where(node)
        note = f"{name} is written into inside this call and read after it"
        self.rewriter.needs.notes.append((where, note))

    def _explicit(self, node: ast.Call, seen: list[SeenCall], text: str) -> str:
        """Give a tensor that torch wrote into, and that is read later, its new value by name."""
        if not all(
            one.names[0].endswith((CALLED, ".forward")) or one.names[0].startswith(_MADE_ANEW)
            for one in seen
        ):
            return text
        aliases = {name for one in seen if one.returns_written for name in one.aliases}
        late = read_later(self.source, node, aliases) if aliases else []
        parent = self.source.parents.get(node)
        if isinstance(parent, ast.Expr) and aliases:
            return "".join(f"{name} = " for name in sorted(aliases)) + text
        for name in late:
            text = f"({name} := {text})"
        return text


def _held(call: TorchCall) -> tuple[str, ...]:
    """Return the keywords of which `**` held some as the reference ran."""
    found = next((one.value for one in call.arguments if one.star == "**"), ())
    return found if isinstance(found, tuple) else ()


def _with_facts(call: TorchCall, facts: Mapping[str, Facts]) -> TorchCall:
    """Return a call whose arguments by name are known as they arrived."""
    known = [
        argument(one.text, None, facts[one.name], one.name)
        if one.name and one.name in facts
        else one
        for one in call.arguments
    ]
    return replace(call, arguments=tuple(known))


def _is_of_module(function: ast.Attribute) -> bool:
    """Tell whether a method is one of layers by its name, or by its being called on `self`."""
    of_self = isinstance(function.value, ast.Name) and function.value.id == "self"
    return function.attr in _ONLY_MODULES or (of_self and function.attr in _OF_SELF)


def _is_open(node: ast.Call) -> bool:
    """Tell whether a call hands on arguments that nobody counts: `*args`, `**kwargs`."""
    starred = any(isinstance(one, ast.Starred) for one in node.args)
    return starred or any(keyword.arg is None for keyword in node.keywords)


def operand_of(writer: PartWriter, node: ast.AugAssign) -> str:
    """Return what `x += y` puts into a tensor, in its type."""
    both = (node.target, node.value)
    target, value = (argument(writer.text(one), one, writer.facts(one)) for one in both)
    spelled = spell_operand(target, value)
    return value.text if spelled is None else writer.take(node.value, spelled)
