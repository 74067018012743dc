"""Where a conversion writes: its outputs' names, checked before it begins."""

import json
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import check_outputs, sha256_of
from convert.formats.table import SUFFIXES
from convert.plan.account import LEFT


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
    try:
        account = json.loads(account_path(output).read_text(encoding="utf-8"))
        written, rows = account["output"], account["target_tensors"]
        left = [str(row["key"]) for row in rows if row["change"] == LEFT]
    except (OSError, ValueError, LookupError, TypeError):
        return []
    same = output.stat().st_size == written.get("bytes")
    if left and same and written.get("sha256"):
        same = sha256_of(output) == written["sha256"]
    return left if same else []


def dropped_path(output: Path) -> Path:
    """Return where large dropped tensors are kept, for the way back."""
    return output.with_name(f"{output.name}.dropped.safetensors")


def check_output(output: Path, beside: Sequence[Path], inputs: Iterable[Path], force: bool) -> None:
    """Raise UserError where `output`, or what is written beside it, must not or cannot be."""
    if not output.is_dir() and not output.parent.is_dir():
        raise UserError(f"{output}: the folder {output.parent} does not exist")
    check_outputs([output, *beside], inputs, force)


def files_of(*given: Any) -> list[Path]:
    """Return those of `given` that name a file: rules may be a mapping, an account None."""
    return [Path(one) for one in given if isinstance(one, (str, PathLike))]
