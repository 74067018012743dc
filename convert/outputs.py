"""Where a conversion writes: its outputs' names, checked before it begins."""

import json
from pathlib import Path

from common.errors import UserError
from common.files import sha256_of
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


def check_output(source: Path, output: Path, force: bool) -> None:
    """Raise UserError where `output` must not or cannot be written."""
    if output.exists() and source.exists() and output.samefile(source):
        raise UserError(f"{output}: the output would overwrite the checkpoint; choose another")
    if output.is_dir():
        raise UserError(f"{output}: a folder; name a file in it")
    if not output.parent.is_dir():
        raise UserError(f"{output}: the folder {output.parent} does not exist")
    if output.exists() and not force:
        raise UserError(f"{output}: exists already; --force replaces it, --output names another")
