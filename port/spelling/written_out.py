"""Spellings that a template cannot hold: functions of the row and the call's arguments."""

import ast
from collections.abc import Callable
from dataclasses import dataclass, replace

from port.calls import UNKNOWN, Argument, TorchCall
from port.spelling.bind import Bound, DoesNotFitError, literal
from port.spelling.forms import Form
from port.spelling.render import Filled, as_list, listed, literal_int
from port.spelling.texts import DATA, TURNED, atom, constant, operand, parsed

OLD_TYPES = {
    "FloatTensor": "float32",
    "DoubleTensor": "float64",
    "HalfTensor": "float16",
    "LongTensor": "int64",
    "IntTensor": "int32",
    "ByteTensor": "uint8",
    "BoolTensor": "bool",
}


@dataclass(frozen=True)
class CallToWrite:
    """What a function of this file gets: the row, its arguments, the call, a word of the row."""

    form: Form
    bound: Bound
    call: TorchCall
    word: str

    def argument(self, name: str) -> Argument:
        """Return an argument, or the default in its place."""
        return Filled(self.form, self.bound).argument(name)

    def several(self, name: str) -> tuple[Argument, ...]:
        """Return the arguments of a variadic parameter."""
        return self.bound.several.get(name, ())


def reshape(writing: CallToWrite) -> str:
    """`view(b, -1)`, `view((b, -1))`, `view(*size)`; a dtype or a size of 0 is not meant."""
    sizes = writing.several("shape")
    if any(literal_int(size) == 0 for size in sizes):
        raise DoesNotFitError("a size of 0, which Paddle reads as a copy of the axis")
    return f"{_receiver(writing)}.reshape({listed(sizes)})"


def _receiver(writing: CallToWrite) -> str:
    return atom(writing.argument("input").text)


def transpose(writing: CallToWrite) -> str:
    """Two axes are swapped: the whole order is written where the rank and the axes are known."""
    tensor = writing.argument("input")
    names = [p.name for p in writing.form.parameters][1:3]
    first, second = (writing.argument(name) for name in names)
    axes = [literal_int(first), literal_int(second)]
    if tensor.rank is None or None in axes:
        return f"swap_axes({tensor.text}, {first.text}, {second.text})"
    order = list(range(tensor.rank))
    a, b = (axis % tensor.rank for axis in axes if axis is not None)
    order[a], order[b] = order[b], order[a]
    return f"{_receiver(writing)}.transpose({order})"


def expand(writing: CallToWrite) -> str:
    """Paddle's expand reads -1 as torch's does."""
    return f"{_receiver(writing)}.expand({listed(writing.several('sizes'))})"


def repeat(writing: CallToWrite) -> str:
    """`repeat(2, 1)` is `tile([2, 1])`."""
    return f"{_receiver(writing)}.tile({listed(writing.several('sizes'))})"


def copied(writing: CallToWrite) -> str:
    """`copy_`: into what is detached, what holds the tensor for its gradient is not told."""
    tensor, source = writing.argument("input"), writing.argument("src")
    owner = tensor.text.removesuffix(DATA)
    alike = tensor.rank is not None and (tensor.rank, tensor.dtype) == (source.rank, source.dtype)
    known = None not in (tensor.rank, source.rank)
    if source.uneven or (known and (tensor.rank, tensor.dtype) != (source.rank, source.dtype)):
        return f"copy_into({tensor.text}, {source.text})"
    if owner == tensor.text or not alike or owner.endswith(TURNED) or _is_part(owner):
        return f"paddle.assign({source.text}, {tensor.text})"
    return f"{owner}.set_value({source.text})"


def _is_part(text: str) -> bool:
    """Tell whether a part of a tensor is cut out: Paddle 2.6 has `set_value` write beside it."""
    tree = parsed(text)
    return isinstance(tree, ast.Subscript) and isinstance(tree.slice, ast.Slice | ast.Tuple)


def select(writing: CallToWrite) -> str:
    """One index of one axis: as a subscript where the axis is known."""
    axis = literal_int(writing.argument("dim"))
    index = writing.argument("index").text
    if axis is None or axis < -1:
        raise DoesNotFitError("the axis is not known")
    before = ["..."] if axis == -1 else [":"] * axis
    return f"{_receiver(writing)}[{', '.join([*before, index])}]"


def chunk(writing: CallToWrite) -> str:
    """Pieces of one size, as Paddle cuts; where one was smaller or lacked, a helper does."""
    result, asked = writing.call.result, literal(writing.argument("chunks"))
    fewer = result is not None and isinstance(asked, int) and result.rank not in (None, asked)
    uneven = fewer or (result is not None and result.uneven)
    parts = [writing.argument("chunks").text]
    parts += [f"axis={writing.argument('dim').text}"] if writing.bound.has("dim") else []
    if writing.call.receiver is not None and not uneven:
        return f"{_receiver(writing)}.chunk({', '.join(parts)})"
    name = "chunks_of" if uneven else "paddle.chunk"
    return f"{name}({', '.join([writing.argument('input').text, *parts])})"


def pad(writing: CallToWrite) -> str:
    """torch pads from the last axis on; Paddle's short list fits the ranks 3 to 5 only."""
    tensor, amounts = writing.argument("input"), _as_numbers(writing.argument("pad"))
    mode, value = writing.argument("mode"), writing.argument("value")
    rank, count = tensor.rank, amounts.rank
    if count is None:
        known = parsed(amounts.text)
        count = len(known.elts) if isinstance(known, ast.List | ast.Tuple) else None
    formats = {3: "NCL", 4: "NCHW", 5: "NCDHW"}
    if rank not in formats or count is None or count != 2 * (rank - 2):
        return _pad_by_helper(writing, tensor, amounts, mode, value)
    parts = [tensor.text, as_list(amounts.text)]
    parts += [f"mode={mode.text}"] if writing.bound.has("mode") else []
    given = writing.bound.has("value") and constant(value.text) != (True, None)
    parts += [f"value={value.text}"] if given else []
    parts += [f'data_format="{formats[rank]}"'] if rank != 4 else []
    return f"F.pad({', '.join(parts)})"


def _as_numbers(amounts: Argument) -> Argument:
    """Amounts that were worked out as tensors of one number: Paddle takes numbers alone."""
    if amounts.dtype in ("int", "float") or amounts.kind not in ("list", "tuple") or amounts.star:
        return amounts
    tree = parsed(amounts.text)
    if amounts.dtype == "tensor" and isinstance(tree, ast.List | ast.Tuple):
        texts = [ast.get_source_segment(amounts.text.strip(), one) or "" for one in tree.elts]
        return replace(amounts, text=f"[{', '.join(f'{atom(one)}.item()' for one in texts)}]")
    return replace(amounts, text=f"plain_numbers({amounts.text})")


def _pad_by_helper(
    writing: CallToWrite, tensor: Argument, amounts: Argument, mode: Argument, value: Argument
) -> str:
    """Any rank: the pairs are put in Paddle's order as it runs."""
    if literal(mode) not in ("constant", UNKNOWN):
        short = {"rank": tensor.rank, "numbers": amounts.rank}
        raise DoesNotFitError(f"mode={mode.text} with {short}")
    given = writing.bound.has("value") and constant(value.text) != (True, None)
    more = f", {value.text}" if given else ""
    return f"pad_from_last({tensor.text}, {amounts.text}{more})"


def nearest_of_a_line(writing: CallToWrite) -> str:
    """[N, C, L]: Paddle's nearest takes an image, here of one row."""
    row = f"{_receiver(writing)}.unsqueeze(2)"
    if writing.bound.has("size") and literal(writing.argument("size")) is not None:
        how = f"size=[1, {_one(writing.argument('size'))}]"
    else:
        how = f"scale_factor=[1, {_one(writing.argument('scale_factor'))}]"
    return f"F.interpolate({row}, {how}).squeeze(2)"


def _one(argument: Argument) -> str:
    """Return a number, or the one number of a list."""
    return argument.text if argument.kind in ("int", "float") else f"{atom(argument.text)}[0]"


def conv_same(writing: CallToWrite) -> str:
    """padding='same': numbers, because Paddle's SAME sets the dilation to 1."""
    given = {**writing.bound.given, "padding": _as_padding(writing)}
    layer = writing.form.api.rpartition(".")[2].removesuffix("d") + "D"
    template = (
        f"nn.{layer}(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, "
        "padding_mode=padding_mode, bias_attr=unless_true(bias))"
    )
    form = Form(writing.form.api, writing.form.parameters, template, writing.form.dropped)
    rendering = Filled(form, Bound(given, {}, writing.bound.through))
    tree = form.tree
    assert isinstance(tree, ast.Call)
    return rendering.outer_call(tree)


def _as_padding(writing: CallToWrite) -> Argument:
    """Return what padding='same' comes to, a call of a helper where its numbers are names."""
    kernel, dilation = (writing.argument(name).text for name in ("kernel_size", "dilation"))
    given = kernel if dilation == "1" else f"{kernel}, {dilation}"
    try:
        size, step = ast.literal_eval(kernel), ast.literal_eval(dilation)
    except (ValueError, SyntaxError, TypeError):
        return Argument(f"padding_of_same({given})", "padding")
    sizes = [size] * 3 if isinstance(size, int) else size
    steps = [step] * len(sizes) if isinstance(step, int) else step
    pads = [d * (k - 1) / 2 for k, d in zip(sizes, steps, strict=False)]
    if any(p != int(p) for p in pads):
        if any(d != 1 for d in steps):
            raise DoesNotFitError("padding='same' of an even kernel that is dilated")
        return Argument("'SAME'", "padding", kind="str")
    numbers = [int(p) for p in pads]
    return Argument(str(numbers[0] if len(set(numbers)) == 1 else numbers), "padding", kind="int")


def sequential(writing: CallToWrite) -> str:
    """Layers one after the other, or an OrderedDict of them."""
    layers = writing.several("args")
    if len(layers) == 1 and not layers[0].star and layers[0].kind not in ("module", "class"):
        return _sequential_of_names(layers[0])
    return f"nn.Sequential({', '.join(a.star + a.text for a in layers)})"


def _sequential_of_names(layers: Argument) -> str:
    """`OrderedDict([("a", layer)])` becomes pairs; another dict is taken apart as it runs."""
    tree = parsed(layers.text)
    if isinstance(tree, ast.Call) and tree.args and isinstance(tree.args[0], ast.List):
        pairs = [ast.get_source_segment(layers.text.strip(), e) for e in tree.args[0].elts]
        return f"nn.Sequential({', '.join(filter(None, pairs))})"
    return f"nn.Sequential(*{atom(layers.text)}.items())"


def module_list(writing: CallToWrite) -> str:
    """Paddle's list takes no None among its layers; where there may be one, a helper does."""
    if not writing.bound.has("modules"):
        return "nn.LayerList()"
    modules = writing.argument("modules")
    if modules.kind in ("list", "tuple") and modules.rank and modules.dtype is None:
        return f"LayerListWithNone({modules.text})"
    return f"nn.LayerList({modules.text})"


def of_itself(writing: CallToWrite) -> str:
    """A method that Paddle's layers lack is a function: of `self` where `super()` is asked."""
    owner = writing.argument("self").text
    return f"{writing.word}({'self' if owner.startswith('super(') else owner})"


def as_given(writing: CallToWrite) -> str:
    """Another name for the same arguments, which a `*` holds."""
    given = [one.star + one.text for one in writing.several("both")]
    return f"{atom(writing.argument('self').text)}.{writing.word}({', '.join(given)})"


def mode(writing: CallToWrite) -> str:
    """`train(mode)`: what `super()` reaches takes a mode, Paddle's own layers of 2.6 do not."""
    owner, given = writing.argument("self").text, writing.argument("mode").text
    if owner.startswith("super("):
        return f"{owner}.train({given})"
    return f"set_mode({owner}, {given})"


def to(writing: CallToWrite) -> str:
    """`to(device)`, `to(device, dtype)`: only the dtype counts, and None is none."""
    dtype = writing.argument("dtype") if writing.bound.has("dtype") else None
    if dtype is None or dtype.text == "None":
        return writing.argument("input").text
    if dtype.kind == "none":
        return f"in_dtype({writing.argument('input').text}, {dtype.text})"
    return f"{_receiver(writing)}.astype({writing.argument('dtype').text})"


def type_of_torch(writing: CallToWrite) -> str:
    """`type(torch.FloatTensor)`, `type("torch.LongTensor")`: the dtype of such tensors."""
    made, asked = writing.call.result, literal(writing.argument("dtype"))
    dtype = None if made is None else made.dtype
    if isinstance(asked, str):
        dtype = OLD_TYPES.get(asked.removeprefix("torch.").removeprefix("cuda."))
    if dtype is None:
        raise DoesNotFitError("nobody knows what it makes")
    return f"{_receiver(writing)}.astype({dtype!r})"


def new(writing: CallToWrite) -> str:
    """A tensor of the receiver's dtype."""
    dtype = f"{_receiver(writing)}.dtype"
    if writing.bound.has("dtype"):
        dtype = writing.argument("dtype").text
    return f"paddle.{writing.word}({listed(writing.several('size'))}, dtype={dtype})"


def einsum(writing: CallToWrite) -> str:
    """Paddle's einsum takes the operands one by one; torch's may get a list of them."""
    given = writing.several("operands")
    if len(given) == 1 and given[0].kind in ("list", "tuple"):
        tree = parsed(given[0].text)
        plain = isinstance(tree, ast.List | ast.Tuple)
        operands = [given[0].text.strip()[1:-1].rstrip(", ") if plain else f"*{given[0].text}"]
    else:
        operands = [a.star + a.text for a in given]
    equation = writing.argument("equation").text
    return f"paddle.einsum({', '.join([equation, *operands])})"


def linear(writing: CallToWrite) -> str:
    """torch's weight is [out, in]; that of a Paddle Linear, which reads as `w.t()`, is not."""
    weight = atom(writing.argument("weight").text)
    turned = weight.removesuffix(TURNED) if weight.endswith(TURNED) else f"{weight}{TURNED}"
    parts = [writing.argument("input").text, turned]
    given = writing.bound.has("bias")
    return f"F.linear({', '.join([*parts, writing.argument('bias').text] if given else parts)})"


def checkpoint(writing: CallToWrite) -> str:
    """Memory for time: what is computed is the same."""
    args = [a.star + a.text for a in writing.several("args")]
    return f"{operand(writing.argument('function').text)}({', '.join(args)})"


WRITTEN: dict[str, Callable[[CallToWrite], str]] = {
    "reshape": reshape,
    "transpose": transpose,
    "expand": expand,
    "repeat": repeat,
    "copied": copied,
    "select": select,
    "chunk": chunk,
    "pad": pad,
    "nearest_of_a_line": nearest_of_a_line,
    "conv_same": conv_same,
    "sequential": sequential,
    "module_list": module_list,
    "of_itself": of_itself,
    "as_given": as_given,
    "mode": mode,
    "to": to,
    "type_of_torch": type_of_torch,
    "new": new,
    "einsum": einsum,
    "linear": linear,
    "checkpoint": checkpoint,
}
