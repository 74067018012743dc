"""Where a conversion writes: its outputs' names, checked before it begins."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from common.documents import json_in
from common.errors import UserError
from common.files import check_outputs, sha256_of
from common.locks import only_writer_of
from convert.formats.table import SUFFIXES
from convert.plan.account import LEFT
from convert.together import require_settled, settle_held


def default_output(source: Path, suffix: str = ".pdparams") -> Path:
    """Return `model.pdparams` beside `model.pth`; also for `x.pth.tar` and `x.index.json`."""
    name = source.name
    while ends := [end for end in SUFFIXES if name.lower().endswith(end) and name.lower() != end]:
        name = name[: -len(ends[0])]
    return source.with_name(f"{name}{suffix}")


def account_path(output: Path) -> Path:
    """Return where the account of `output` is written."""
    return output.with_name(f"{output.name}.account.json")


def left_at_initialisation(output: Path) -> list[str]:
    """Return the tensors of the net that a converted file does not hold, as its account says.

    Empty where there is no account beside the file, or it is that of another file.
    """
    require_settled(files_beside(output))
    try:
        account = json_in(account_path(output))
        written, rows = account["output"], account["target_tensors"]
        left = [str(row["key"]) for row in rows if row["change"] == LEFT]
        size, digest = written.get("bytes"), written.get("sha256")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, UserError):
        return []
    same = output.stat().st_size == size
    if left and same and digest:
        same = sha256_of(output) == digest
    return left if same else []


def dropped_path(output: Path) -> Path:
    """Return where large dropped tensors are kept, for the way back."""
    return output.with_name(f"{output.name}.dropped.safetensors")


def files_beside(output: Path) -> list[Path]:
    """Return what a conversion to `output` writes: the weights first, their account last.

    Raises UserError where it is no name of a file.
    """
    if not output.name:  # `.`, `/`
        raise UserError(f"{output}: a folder; name a file in it")
    return [output, dropped_path(output), account_path(output)]


@contextmanager
def writing_alone(
    names: Sequence[Path], inputs: Iterable[Path], force: bool
) -> Iterator[Callable[[], None]]:
    """Hold the first of `names` while the block runs; give what is to be called at its end.

    That asks again what is asked here: that nothing is written over what is read, nor unasked over
    what is there. Raises UserError where it would be, where another run writes there, or where
    there is no such folder.
    """
    output, read = names[0], list(inputs)
    if output.is_dir() or not output.parent.is_dir():
        check_outputs([output], read, force)  # says what is wrong with a folder
        raise UserError(f"{output}: the folder {output.parent} does not exist")

    def check() -> None:
        check_outputs(names, read, force)

    check()
    with only_writer_of(output):
        settle_held(files_beside(output))
        check()
        yield check


def files_of(*given: Any) -> list[Path]:
    """Return those of `given` that name a file: rules may be a mapping, an account None."""
    return [Path(one) for one in given if isinstance(one, (str, PathLike))]
