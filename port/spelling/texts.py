"""Pieces of Python source: joined with the brackets they need, constants worked out."""

import ast

ATOMS = (
    ast.Name,
    ast.Attribute,
    ast.Call,
    ast.Subscript,
    ast.List,
    ast.Dict,
    ast.Set,
    ast.JoinedStr,
)
DATA = ".detach()"  # Paddle 2.6 lets nobody write into the `data` of what is trained
WEIGHT, TURNED = ".weight", ".t()"  # a Linear's, [in, out] in Paddle, is read as torch's by .t()
DIGITS = 12  # of a constant that is worked out: 1 - 0.1 is 0.9


def itself(text: str) -> str:
    """Return the text of a weight as it is kept, of one that is read as torch's: no view of it.

    `w.weight.t()`, and `(w.weight if isinstance(w, nn.Conv2D) else w.weight.t())`, are `w.weight`;
    `w.weight.detach().t()` is `w.weight.detach()`.
    """
    if TURNED not in text:
        return text
    if text.endswith(DATA) and (held := itself(text.removesuffix(DATA))) + DATA != text:
        return held + DATA
    waiting, found = [parsed(text)], set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.IfExp):
            waiting += [one.body, one.orelse]
        elif one is not None:
            found.add(ast.unparse(one).removesuffix(TURNED))
    held = next(iter(found), "")
    known = held.removesuffix(DATA).endswith(WEIGHT)
    return held if len(found) == 1 and known else text


def turned(text: str) -> str:
    """Return a matrix's text with its axes exchanged; twice is as it was."""
    return text.removesuffix(TURNED) if text.endswith(TURNED) else f"{atom(text)}{TURNED}"


def parsed(text: str) -> ast.expr | None:
    """Return the tree of an expression, None where the text is none by itself."""
    try:
        return ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        return None


def atom(text: str) -> str:
    """Return the text so that an operator or an attribute may stand beside it."""
    tree = parsed(text)
    if isinstance(tree, ATOMS):
        return text
    if isinstance(tree, ast.Constant) and not isinstance(tree.value, int | float | complex):
        return text
    if is_bracketed(text):
        return text
    return f"({text})"


def operand(text: str) -> str:
    """Return the text as one side of an operator: numbers stay as they are."""
    tree = parsed(text)
    if isinstance(tree, ast.Constant):
        return text
    return atom(text)


def is_bracketed(text: str) -> bool:
    """Return whether an expression stands in brackets of its own: not `(a) & (b)`."""
    tree = parsed(text)
    if tree is None or not text.strip().startswith("("):
        return False
    if isinstance(tree, ast.Tuple):  # whose brackets are its own, if it has any
        return not tree.elts or parsed(f"[{text.strip()[1:-1]}]") is not None
    begins = (tree.lineno, tree.col_offset) == (1, 0)
    return isinstance(tree, ast.GeneratorExp) or not begins


def constant(text: str) -> tuple[bool, object]:
    """Return (True, value) of a literal, (False, None) of another text."""
    try:
        return True, ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError):
        return False, None


def negated(text: str) -> str:
    """Return `not text`, worked out where it is a constant."""
    known, value = constant(text)
    if known:
        return str(not value)
    tree = parsed(text)
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not):
        return ast.unparse(tree.operand)
    return f"not {operand(text)}"


def worked_out(left: str, sign: str, right: str) -> str:
    """Return `left sign right`; + - * / of two numbers are worked out, so is 1 - (1 - x)."""
    (known, a), (both, b) = constant(left), constant(right)
    if known and both and _is_number(a) and _is_number(b):
        value = _value(a, sign, b)  # type: ignore[arg-type]
        if value is not None:
            return value
    if sign == "-" and (inner := _taken_from(left, right)):
        return operand(inner)
    return f"{operand(left)} {sign} {operand(right)}"


def _taken_from(left: str, right: str) -> str | None:
    """Return x where `right` is `left - x`."""
    tree = parsed(right)
    if not isinstance(tree, ast.BinOp) or not isinstance(tree.op, ast.Sub):
        return None
    same = ast.unparse(tree.left) == left.strip()
    return ast.get_source_segment(right.strip(), tree.right) if same else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value(a: float, sign: str, b: float) -> str | None:
    if sign == "/" and not b:
        return None
    results = {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b}
    if sign not in results:
        return None
    value = results[sign]()
    return repr(value) if isinstance(value, int) else repr(float(f"{value:.{DIGITS}g}"))
