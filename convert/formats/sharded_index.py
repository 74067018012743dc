"""Reads the index of a checkpoint that is cut into several files (`*.index.json`).

The format: https://github.com/huggingface/transformers, `save_pretrained`, "weight_map".
"""

from pathlib import Path

from common.errors import UnreadableError
from common.files import is_beside
from common.words.controls import is_name
from convert.formats.safetensors import json_table
from convert.formats.stored import Contents, DamagedError, FileHead
from convert.names.spec import TORCH


def looks_like_index(head: FileHead) -> bool:
    """Tell whether it may be one: a JSON object in a file called so."""
    return head.suffix == ".json" and head.data.lstrip()[:1] == b"{"


def read(path: Path, data: memoryview) -> Contents:
    """Return which file beside it holds each tensor.

    Raises UnreadableError where it is no index or names a file elsewhere.
    """
    try:
        index = json_table(bytes(data))
        places = index.get("weight_map")
        if not isinstance(places, dict) or not places:
            raise DamagedError("it has no weight_map")
        for name in places.values():
            if not isinstance(name, str) or not (is_beside(name) and is_name(name)):
                raise DamagedError(f"it names the file {str(name)[:80]!r}, which is not beside it")
    except DamagedError as error:
        raise UnreadableError(f"{path}: not an index of a sharded checkpoint: {error}") from None
    words = f"index of {len(set(places.values()))} files, "
    return Contents({}, TORCH, words, parts=places)
