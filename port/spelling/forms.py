"""One row of the table of meanings: torch's signature, and the Paddle text that means the same.

A row is `signature: template`. The signature is Python's (`(input, dim: int, *, keepdim=False)`);
an annotation says of which kind an argument must be (`int | list`), of which rank (`rank4`), or
which constant (`'zeros'`) for the row to hold; `unsaid` is a text that differed from call to call.
The template is a Paddle expression in which the names of the signature stand for the user's texts.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass

RANK = "rank"  # `rank4` in an annotation: a tensor of four axes
GROUPS = {  # kinds of kinds; those of tensors look at the dtype
    "number": ("int", "float"),
    "several": ("list", "tuple", "size"),
    "class_": ("class",),
}
BY_DTYPE = {
    "floating": ("float16", "bfloat16", "float32", "float64"),
    "integral": ("int8", "int16", "int32", "int64", "uint8"),
    "boolean": ("bool",),
}


@dataclass(frozen=True)
class Parameter:
    """A parameter of torch's signature.

    `default` is the text of its default value, None without one. `accepts` holds the names of
    kinds, `constants` the values that the row is for; both empty: any.
    """

    name: str
    default: str | None = None
    accepts: tuple[str, ...] = ()
    constants: tuple[object, ...] = ()
    variadic: bool = False
    keyword_only: bool = False


@dataclass(frozen=True)
class Form:
    """One way in which an API is called, and its spelling.

    Attributes:
        api: the dotted name.
        parameters: torch's, in their order; the receiver of a method is the first of them.
        template: the Paddle text; "@name" is written by that function of `written_out`.
        dropped: reasons by name of parameter: these are left out, whatever they are.
        notes: what a reader of the port should know.
        differs: ids of docs/differences.yml.
        backward: of another spelling, only its gradient is another.
        since: "3.0", the Paddle that the spelling came with; "" of what all supported ones have.
        newly: what of it is new, where that is not what the template calls.
    """

    api: str
    parameters: tuple[Parameter, ...]
    template: str
    dropped: Mapping[str, str]
    notes: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    backward: bool = False
    since: str = ""
    newly: str = ""

    @property
    def tree(self) -> ast.expr:
        """Return the template as a syntax tree."""
        return ast.parse(self.template, mode="eval").body


def parameters_of(signature: str) -> tuple[Parameter, ...]:
    """Return the parameters of a signature in parentheses; SyntaxError where it is none."""
    function = ast.parse(f"def f{signature}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    args = function.args
    plain = [*args.posonlyargs, *args.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(args.defaults))
    found = [_parameter(a, d) for a, d in zip(plain, [*defaults, *args.defaults], strict=True)]
    if args.vararg:
        found.append(_parameter(args.vararg, None, variadic=True))
    pairs = zip(args.kwonlyargs, args.kw_defaults, strict=True)
    return (*found, *(_parameter(a, d, keyword_only=True) for a, d in pairs))


def _parameter(
    arg: ast.arg, default: ast.expr | None, variadic: bool = False, keyword_only: bool = False
) -> Parameter:
    accepts: list[str] = []
    constants: list[object] = []
    for part in _alternatives(arg.annotation):
        if isinstance(part, ast.Name):
            accepts += GROUPS.get(part.id, (part.id,))
        else:
            constants.append(ast.literal_eval(part))
    text = None if default is None else ast.unparse(default)
    return Parameter(arg.arg, text, tuple(accepts), tuple(constants), variadic, keyword_only)


def _alternatives(annotation: ast.expr | None) -> list[ast.expr]:
    if annotation is None:
        return []
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return [*_alternatives(annotation.left), *_alternatives(annotation.right)]
    return [annotation]
