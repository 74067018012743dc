"""What the nets of a user raise, said as the user's errors."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from commands.entry import next_step, was_interrupted
from commands.subjects.inputs import noted

# What torch says where a tensor of half precision meets one of the net's float64.
OTHER_DTYPE = re.compile(
    r"(Half|BFloat16|Float|half|bfloat16|float)\b.*(double|Double)|(double|Double).*(Half|BFloat16|Float)\b"
)

# What torch says where an image of whole numbers meets weights of floats.
OF_WHOLE_NUMBERS = re.compile(
    r"\b(Byte|Char|Short|Int|Long|Bool|uint8|int\d+|unsigned char|long|bool)\b|dtype|scalar type"
)

# What a net raises whatever its input is.
NOT_OF_THE_INPUT = (ImportError, NameError, AttributeError, NotImplementedError, RecursionError)


@contextmanager
def errors_of_nets(name: str) -> Iterator[None]:
    """Say what a net, a loss or an optimizer raises as a user's error: whose, and at which line."""
    from common.errors import UserError

    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and was_interrupted():
            raise
        if words := _words_of(error, name):
            raise UserError(words) from error
        raise


def _of_file(error: BaseException) -> str:
    """Return which arrays of the file are of whole numbers, where that may be at fault."""
    given = noted("inputs")
    return f"; {given}" if given and OF_WHOLE_NUMBERS.search(str(error)) else ""


def _words_of(error: BaseException, name: str) -> str:
    """Return whose code raised `error` and what to do, "" where it was this program's."""
    from align.nets.progress import is_of_reference, raised_by, raised_in
    from commands.subjects.callables import whose
    from common.places import told, user_frame

    layer = raised_in(error)
    side = "" if not layer else "--torch" if is_of_reference(layer) else "--paddle"
    who = whose(error, side) if not layer or layer.startswith("the loss") else ""
    words = told(error, raised_by(error))
    if who or not isinstance(error, Exception):
        step, label = next_step(error), noted("label")
        if label and isinstance(error, Exception) and (layer.startswith("the loss") or not layer):
            step += f", or in the file: {label}"
        return f"could not check: {who or layer or name} raises {words}. {step}"
    if is_of_reference(layer):
        place = layer.replace(" of the reference", "")
        if isinstance(error, NOT_OF_THE_INPUT):
            return f"the reference cannot run: {place} raises {words}. {next_step(error)}"
        if OTHER_DTYPE.search(str(error)):
            return (
                f"the reference cannot run in float64, in which it is judged: {place} raises "
                f"{words}. Nothing was judged: where its code casts to a fixed dtype "
                "(.half(), .to(torch.bfloat16)), cast to that of a weight: x.to(self.weight.dtype)"
            )
        return (
            f"the reference cannot run on this input: {place} raises {words}. "
            "Nothing was judged: give an input that the reference takes (--input-shape or "
            f"--inputs), or mend it there{_of_file(error)}"
        )
    if user_frame(error) is not None:
        return f"{name} cannot run on this input: {words}"
    if isinstance(error, RuntimeError | ValueError):
        reason = (str(error).strip().splitlines() or [""])[-1]
        return f"{name} cannot run on this input: {reason}"
    return ""
