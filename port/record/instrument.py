"""Source of the user's with a question at each call: who is called, with what, was this reached.

Positions stay those of the file, so tracebacks and `inspect` see the user's own lines.
"""

import ast
from collections.abc import Container
from typing import Any

ASKED = "__t2p__"  # the name of the asker among the module's globals
# Calls that look at the frame they stand in, or that the compiler knows by name.
_FRAME, _BACK = "_getframe", "f_back"
_BY_FRAME = frozenset({"wrap", "currentframe", _FRAME})
_STRINGS = frozenset({"eval", "exec"})  # which run a string of the frame they stand in
_BY_NAME = _BY_FRAME | {"super", "locals", "globals", "vars", "dir", "eval", "exec", "__import__"}
_LEAVES = (
    ast.Name,
    ast.Constant,
    ast.expr_context,
    ast.operator,
    ast.cmpop,
    ast.unaryop,
    ast.boolop,
)
_LOAD = ast.Load()
Span = tuple[int, int, int, int]  # line, column, last line, column behind it: as ast counts them


def span_of(node: Any) -> Span:
    """Return where an expression or a statement stands: lines from 1, columns in bytes from 0."""
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset


def is_asked(node: ast.Call) -> bool:
    """Tell whether a call has a question: nearly all have."""
    called = getattr(node.func, "id", getattr(node.func, "attr", None))
    return called not in (_BY_NAME if isinstance(node.func, ast.Name) else _BY_FRAME)


def owner_of_table(node: ast.AST) -> ast.expr | None:
    """Return the module of `nn.__dict__` and `vars(nn)`, None of other expressions.

    It is a name, which may be asked twice.
    """
    found: ast.expr | None = None
    if isinstance(node, ast.Attribute) and node.attr == "__dict__":
        found = node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "vars":
        found = node.args[0] if len(node.args) == 1 else None
    part = found
    while isinstance(part, ast.Attribute):
        part = part.value
    return found if isinstance(part, ast.Name) else None


def instrumented(text: str, attributes: Container[str]) -> tuple[ast.Module, list[Span]]:
    """Return the tree of `text` with its questions, and the places that they ask by number.

    `attributes`: selected attributes whose owner is asked for.
    """
    asking = _Asking(attributes)
    return asking.visit(ast.parse(text)), asking.spans


class _Asking(ast.NodeTransformer):
    """Wraps calls, owners of attributes and indices, operands; marks the beginning of blocks."""

    def __init__(self, attributes: Container[str]) -> None:
        self.attributes = attributes
        self.spans: list[Span] = []

    def visit(self, node: ast.AST) -> Any:
        """Visit a node; names, constants and signs hold nothing to ask for."""
        return node if isinstance(node, _LEAVES) else super().visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Ask who is called: `f(x)` -> `__t2p__.call(7, f, x)`."""
        if not is_asked(node):
            self.generic_visit(node)
            if getattr(node.func, "attr", None) == _FRAME:
                return self._without_number(node, "frame", [node.func, *node.args])
            return self._string(node) if _runs_string(node) else node
        number = self._number(node)
        function = node.func
        if isinstance(function, ast.Attribute):
            function.value = self.visit(function.value)
        else:
            function = self.visit(function)
        arguments = [self.visit(argument) for argument in node.args]
        keywords = [self.visit(keyword) for keyword in node.keywords]
        return self._asked(node, "call", number, [function, *arguments], keywords)

    def _string(self, node: ast.Call) -> ast.AST:
        """Ask for the string and for what it gives: `__t2p__.gave(7, eval(__t2p__.text(7, s)))`."""
        number = self._number(node)
        node.args[0] = self._asked(node.args[0], "text", number, [node.args[0]], [])
        return self._asked(node, "gave", number, [node], [])

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """Ask whose attribute it is."""
        owner = node.value
        node.value = self.visit(owner)
        if node.attr == _BACK and isinstance(node.ctx, ast.Load):
            return self._without_number(node, "back", [node.value])
        if node.attr in self.attributes and not _is_super(owner):
            node.value = self._seen(owner, node.value)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """Ask what is indexed, and by what: of what is read, behind the first axis."""
        owner, stored = node.value, isinstance(node.ctx, ast.Store)
        if isinstance(node.ctx, ast.Load) and (held := owner_of_table(owner)) is not None:
            values = [self.visit(held), self.visit(owner), self.visit(node.slice)]
            return self._asked(node, "by_key", self._number(node), values, [])
        node.value = self._seen(owner, self.visit(owner), "stored" if stored else "seen")
        index = node.slice
        if not stored:
            node.slice = self.visit(index)
            if isinstance(node.slice, ast.Tuple) and node.slice.elts:  # none: `tuple[()]`
                first, *rest = node.slice.elts
                node.slice.elts = [first, *(self._index(one) for one in rest)]
        elif isinstance(index, ast.Tuple):
            index.elts = [self._place(one) for one in index.elts]
        else:
            node.slice = self._place(index)
        return node

    def _place(self, node: ast.expr) -> Any:
        """Ask for one index of what is written into; a slice is no value."""
        plain = isinstance(node, ast.Slice | ast.Starred)
        return self.visit(node) if plain else self._seen(node, self.visit(node))

    def _index(self, node: ast.expr) -> ast.expr:
        """Ask for one index of what is read, where it is a name."""
        plain = isinstance(node, ast.Name | ast.Attribute | ast.Subscript)
        return self._seen(node, node) if plain else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Ask for both operands."""
        node.left = self._seen(node.left, self.visit(node.left))
        node.right = self._seen(node.right, self.visit(node.right))
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """Ask for the operands of `==` and the like, not of `is` and `in`."""
        if any(isinstance(one, ast.Is | ast.IsNot | ast.In | ast.NotIn) for one in node.ops):
            self.generic_visit(node)
            return node
        node.left = self._seen(node.left, self.visit(node.left))
        node.comparators = [self._seen(one, self.visit(one)) for one in node.comparators]
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        """Ask what is written into a part of something, and where: `x[mask] = y`."""
        parts = [one for one in node.targets if isinstance(one, ast.Subscript)]
        node.targets = [self.visit(target) for target in node.targets]
        value = self.visit(node.value)
        node.value = self._seen(node.value, value) if parts else value
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        """Ask what is written into, and what: `x += y` -> `x += __t2p__.written(7, x, y)`."""
        target: Any = node.target
        number = self._number(node)
        value = self._seen(node.value, self.visit(node.value))
        if isinstance(target, ast.Name):
            read = self._seen(target, _stood(ast.Name(target.id, _LOAD), target))
            node.value = self._asked(node.value, "written", number, [read, value], [])
        elif isinstance(node.op, ast.Add) and _is_of_a_name(target):  # maybe a list of layers
            owner = _stood(ast.Name(target.value.id, _LOAD), target)
            read = _stood(ast.Attribute(owner, target.attr, _LOAD), target)
            place = self._number(target)
            node.value = self._asked(node.value, "beside", place, [read, value], [])
            node.target = self.visit(target)
        else:
            node.target, node.value = self.visit(target), value
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Mark that the function was entered; leave annotations alone."""
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        """Mark that the function was entered; leave annotations alone."""
        return self._function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Ask what its decorators do."""
        node.decorator_list, decorators = [], self._decorators(node)
        self.generic_visit(node)
        node.decorator_list = decorators
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        """Mark which branch ran."""
        return self._blocks(node, "body", "orelse")

    def visit_For(self, node: ast.For) -> ast.AST:
        """Mark whether it turned at all."""
        return self._blocks(node, "body", "orelse")

    def visit_While(self, node: ast.While) -> ast.AST:
        """Mark whether it turned at all."""
        return self._blocks(node, "body", "orelse")

    def visit_Try(self, node: ast.Try) -> ast.AST:
        """Mark which of its parts ran."""
        return self._blocks(node, "body", "orelse", "finalbody")

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        """Mark whether it ran."""
        return self._blocks(node, "body")

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Leave the annotation alone."""
        node.value = self.visit(node.value) if node.value else None
        node.target = self.visit(node.target)
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        """Leave f-strings alone: before Python 3.12 positions inside them are not the file's."""
        return node

    def visit_MatchValue(self, node: ast.MatchValue) -> ast.AST:
        """Leave patterns alone."""
        return node

    def visit_MatchClass(self, node: ast.MatchClass) -> ast.AST:
        """Leave patterns alone."""
        return node

    def _function(self, node: Any) -> ast.AST:
        node.decorator_list = self._decorators(node)
        node.args.defaults = [self.visit(one) for one in node.args.defaults]
        node.args.kw_defaults = [one and self.visit(one) for one in node.args.kw_defaults]
        return self._blocks(node, "body", all_children=False)

    def _decorators(self, node: Any) -> list[Any]:
        """Ask what each does: above `@f(x)` stands `@__t2p__.made(7)`, below `@__t2p__.given(7)`.

        Each is called from where it stands: some look at the frame.
        """
        found = []
        for one in node.decorator_list:
            number = self._number(one)
            made, given = (self._asked(one, name, number, [], []) for name in ("made", "given"))
            found += [made, self.visit(one), given]
        return found

    def _blocks(self, node: Any, *names: str, all_children: bool = True) -> ast.AST:
        first = {name: getattr(node, name)[0] for name in names if getattr(node, name)}
        marks = {name: self._mark(statement) for name, statement in first.items()}
        if all_children:
            self.generic_visit(node)
        else:
            for name in names:
                setattr(node, name, [self.visit(one) for one in getattr(node, name)])
        for name, mark in marks.items():
            body = getattr(node, name)
            place = 1 if name == "body" and _is_docstring(body[0]) else 0
            body.insert(place, mark)
        return node

    def _mark(self, first: ast.stmt) -> ast.stmt:
        asked = self._asked(first, "ran", self._number(first), [], [])
        return _stood(ast.Expr(asked), first)

    def _seen(self, node: ast.expr, value: Any, how: str = "seen") -> ast.expr:
        if isinstance(node, ast.Constant | ast.Call):
            return value
        return self._asked(node, how, self._number(node), [value], [])

    def _number(self, node: Any) -> int:
        self.spans.append(span_of(node))
        return len(self.spans) - 1

    def _without_number(self, at: ast.AST, name: str, values: list[Any]) -> ast.expr:
        """Let the asker walk up the frames: `sys._getframe(1)` -> `__t2p__.frame(f, 1)`."""
        asker = _stood(ast.Attribute(_stood(ast.Name(ASKED, _LOAD), at), name, _LOAD), at)
        return _stood(ast.Call(asker, values, []), at)

    def _asked(
        self, at: ast.AST, name: str, number: int, values: list[Any], keywords: list[Any]
    ) -> ast.expr:
        name_of_asker = _stood(ast.Name(ASKED, _LOAD), at)
        asker = _stood(ast.Attribute(name_of_asker, name, _LOAD), at)
        return _stood(ast.Call(asker, [_stood(ast.Constant(number), at), *values], keywords), at)


def _stood(node: Any, at: Any) -> Any:
    """Return a new node as one that stands where another does."""
    node.lineno, node.col_offset, node.end_lineno, node.end_col_offset = span_of(at)
    return node


def _runs_string(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id in _STRINGS and bool(node.args)


def _is_of_a_name(node: Any) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_super(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
    )
