"""Where a conversion writes: its outputs' names, checked before it begins."""

from pathlib import Path

from common.errors import UserError
from convert.formats.table import SUFFIXES


def default_output(source: Path, suffix: str = ".pdparams") -> Path:
    """Return `model.pdparams` beside `model.pth`; also for `x.pth.tar` and `x.index.json`."""
    name = source.name
    while ends := [end for end in SUFFIXES if name.lower().endswith(end) and name.lower() != end]:
        name = name[: -len(ends[0])]
    return source.with_name(f"{name}{suffix}")


def account_path(output: Path) -> Path:
    """Return where the account of `output` is written."""
    return output.with_name(f"{output.name}.account.json")


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
