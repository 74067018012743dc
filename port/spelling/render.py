"""The Paddle text of a call: a template with the user's texts in its places.

What the template calls at its top is treated as a user would write it: an argument that the call
does not give is left out (`always(...)` is written nevertheless), what was given by position stays
so as long as nothing before it is missing.
"""

import ast
from collections.abc import Callable

from port.calls import KIND_OF, UNKNOWN, Argument
from port.spelling.bind import Bound
from port.spelling.forms import Form
from port.spelling.texts import atom, constant, negated, operand, parsed, worked_out

SIGNS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
    ast.FloorDiv: "//",
    ast.MatMult: "@",
    ast.Mod: "%",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
}
COMPARED: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Is: "is",
    ast.IsNot: "is not",
}


def rendered(form: Form, bound: Bound) -> str:
    """Return the Paddle text of a call that fits `form`."""
    template = Filled(form, bound)
    tree = form.tree
    if isinstance(tree, ast.Call) and not template.is_function(tree):
        return template.outer_call(tree)
    text = template.text(tree)
    return atom(text) if isinstance(tree, ast.BinOp | ast.UnaryOp | ast.Compare) else text


class Filled:
    """A template and what stands in its places."""

    def __init__(self, form: Form, bound: Bound) -> None:
        self.form = form
        self.bound = bound
        self.names = {p.name: p for p in form.parameters}
        self.functions: dict[str, Callable[[ast.expr], str]] = {
            "always": self.text,
            "truth": self.truth,
            "unless_true": self.truth,
            "items": self.items,
            "pair": lambda e: self.repeated(e, 2),
            "triple": lambda e: self.repeated(e, 3),
            "listed": self.listed,
        }

    def is_function(self, tree: ast.Call) -> bool:
        """Return whether a call is one of the template's own words."""
        return isinstance(tree.func, ast.Name) and tree.func.id in self.functions

    def outer_call(self, tree: ast.Call) -> str:
        """Return the text of what the template calls at its top."""
        written: list[str] = []
        named: list[tuple[int, str, ast.expr]] = []
        for argument in filter(self.is_written, tree.args):
            if named or self.as_keyword(argument) or self.is_behind_a_gap(tree, argument):
                named.append((self.place_of(argument), self.name_of(argument), argument))
            else:
                written.append(self.text(argument))
        for keyword in tree.keywords:
            if self.is_written(keyword.value):
                named.append((self.place_of(keyword.value), keyword.arg or "", keyword.value))
        named.sort(key=lambda one: one[0])
        written += [f"{name}={self.text(value)}" for _, name, value in named]
        return f"{self.text(tree.func)}({', '.join(filter(None, written))})"

    def is_behind_a_gap(self, tree: ast.Call, argument: ast.expr) -> bool:
        """Return whether an argument before this one is left out."""
        before = tree.args[: tree.args.index(argument)]
        return not all(map(self.is_written, before))

    def place_of(self, part: ast.expr) -> int:
        """Return where in the call the user wrote what stands here; behind all, if nowhere."""
        order = list(self.bound.given)
        places = [order.index(name) for name in self.used(part) if name in self.bound.given]
        return min(places, default=len(order))

    def used(self, tree: ast.expr) -> list[str]:
        """Return the names of parameters in a part of the template."""
        found = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
        return [name for name in found if name in self.names]

    def is_written(self, argument: ast.expr) -> bool:
        """Return whether an argument of the template has to be there in this call."""
        if isinstance(argument, ast.Call) and ast.unparse(argument.func) == "always":
            return not set(self.used(argument)) & self.bound.through
        if isinstance(argument, ast.Call) and ast.unparse(argument.func) == "unless_true":
            return self.text(argument) != "True" and self.bound.has(self.used(argument)[0])
        names = self.used(argument)
        if not names:
            return True
        return any(self.bound.has(name) or self.names[name].variadic for name in names)

    def as_keyword(self, argument: ast.expr) -> bool:
        """Return whether the user gave this by keyword, and it keeps its name."""
        if not isinstance(argument, ast.Name) or argument.id not in self.bound.given:
            return False
        named = self.bound.given[argument.id].name is not None
        optional = self.names[argument.id].default is not None
        return named and (optional or self.form.template.startswith("nn."))

    def name_of(self, argument: ast.expr) -> str:
        """Return the keyword of an argument of the template, which is Paddle's name as well."""
        return self.used(argument)[0]

    def argument(self, name: str) -> Argument:
        """Return what stands in the place of a parameter: the user's argument, or the default."""
        if name in self.bound.given:
            return self.bound.given[name]
        default = self.names[name].default
        known, value = constant(default or "")
        return Argument(
            default or "None",
            kind=KIND_OF.get(type(value), "tuple") if known else "other",
            value=value if known else UNKNOWN,
        )

    def text(self, tree: ast.expr) -> str:
        """Return the text of a part of the template."""
        if isinstance(tree, ast.Name):
            return self.argument(tree.id).text if tree.id in self.names else tree.id
        if isinstance(tree, ast.Attribute):
            return f"{atom(self.text(tree.value))}.{tree.attr}"
        if isinstance(tree, ast.Subscript):
            return f"{atom(self.text(tree.value))}[{self.text(tree.slice)}]"
        if isinstance(tree, ast.BinOp):
            return worked_out(self.text(tree.left), SIGNS[type(tree.op)], self.text(tree.right))
        if isinstance(tree, ast.Compare):
            right = self.text(tree.comparators[0])
            return f"{operand(self.text(tree.left))} {COMPARED[type(tree.ops[0])]} {operand(right)}"
        if isinstance(tree, ast.UnaryOp):
            return self.signed(tree)
        if isinstance(tree, ast.List | ast.Tuple):
            return self.several(tree)
        if isinstance(tree, ast.Call):
            return self.inner_call(tree)
        return ast.unparse(tree)

    def signed(self, tree: ast.UnaryOp) -> str:
        """Return the text of `not`, `-` and `~`."""
        inner = self.text(tree.operand)
        if isinstance(tree.op, ast.Not):
            return negated(inner)
        return f"{'-' if isinstance(tree.op, ast.USub) else '~'}{operand(inner)}"

    def several(self, tree: ast.List | ast.Tuple) -> str:
        """Return the text of a list or tuple of the template."""
        inside = ", ".join(self.text(part) for part in tree.elts)
        if isinstance(tree, ast.List):
            return f"[{inside}]"
        return f"({inside},)" if len(tree.elts) == 1 else f"({inside})"

    def inner_call(self, tree: ast.Call) -> str:
        """Return the text of a call within the template: all of it is written."""
        if self.is_function(tree):
            assert isinstance(tree.func, ast.Name)
            return self.functions[tree.func.id](tree.args[0])
        written = [self.text(argument) for argument in tree.args]
        written += [f"{k.arg}={self.text(k.value)}" for k in tree.keywords]
        return f"{self.text(tree.func)}({', '.join(written)})"

    def truth(self, tree: ast.expr) -> str:
        """Return the text as a truth value: None, which Paddle reads as a default, is False."""
        assert isinstance(tree, ast.Name)
        argument = self.argument(tree.id)
        known, value = constant(argument.text)
        if known:
            return str(bool(value))
        return argument.text if argument.kind == "bool" else f"bool({argument.text})"

    def items(self, tree: ast.expr) -> str:
        """Return a list of a variadic parameter, or the one list that was given in its place."""
        assert isinstance(tree, ast.Name)
        return listed(self.bound.several.get(tree.id, ()))

    def repeated(self, tree: ast.expr, times: int) -> str:
        """Return one number as a list of `times` of it, a list as it is."""
        assert isinstance(tree, ast.Name)
        argument = self.argument(tree.id)
        if argument.kind in ("int", "float"):
            return f"[{', '.join([argument.text] * times)}]"
        return argument.text

    def listed(self, tree: ast.expr) -> str:
        """Return one number as a list of it, a list as it is."""
        return self.repeated(tree, 1)


def listed(arguments: tuple[Argument, ...]) -> str:
    """Return the text of a list of several arguments; of the one list among them as it is."""
    if len(arguments) == 1 and not arguments[0].star and arguments[0].kind in ("list", "size"):
        return arguments[0].text
    if len(arguments) == 1 and not arguments[0].star and arguments[0].kind == "tuple":
        return as_list(arguments[0].text)
    if len(arguments) == 1 and arguments[0].star:
        known = arguments[0].kind in ("list", "tuple", "size")
        return arguments[0].text if known else f"[*{arguments[0].text}]"
    return f"[{', '.join(a.star + a.text for a in arguments)}]"


def as_list(text: str) -> str:
    """Return a tuple that is written out as a list, another text as it is."""
    if isinstance(parsed(text), ast.Tuple) and text.strip().startswith("("):
        inside = text.strip()[1:-1].strip().removesuffix(",")
        return f"[{inside}]"
    return text


def literal_int(argument: Argument) -> int | None:
    """Return the int that an argument is in the source, None for another."""
    known, value = constant(argument.text)
    if known and isinstance(value, int) and not isinstance(value, bool):
        return value
    return None
