"""What is to be predicted: photos, the photos of folders, videos; and where results go."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.data.photos import PHOTO_SUFFIXES
from common.errors import UserError
from common.files import check_outputs
from common.words.language import phrase

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm")
SUFFIXES = {"ids": ".png", "overlay": "_overlay.jpg", "sheet": "_sheet.jpg"}
VIDEO_SUFFIX_OF = {"ids": "_ids.mp4", "overlay": "_overlay.mp4"}


@dataclass(frozen=True)
class Item:
    """A photo or a video, and where its results go.

    outputs: by kind, a key of SUFFIXES.
    """

    path: Path
    outputs: dict[str, Path]
    is_video: bool = False


@dataclass
class Listed:
    """What was found: items, and (file, why) of what is no photo."""

    items: list[Item] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)


def list_items(
    given: Sequence[Path], folder: Path, kinds: Sequence[str], force: bool = False
) -> Listed:
    """Return what is to be predicted, with its outputs in `folder`.

    The photos of a folder are those below it, too; their results lie as they do. A video is given
    by itself.

    Raises UserError where something is not there, where results of two would have one name, or
    where one would be written over a file (without `force`) or over what was given.
    """
    listed = Listed()
    found: list[tuple[Path, Path]] = []  # file, place of its results without a suffix
    for place in given:
        if place.is_dir():
            found += _below(place, folder, listed.skipped)
        elif place.is_file():
            found.append((place, Path(place.stem)))
        else:
            raise UserError(f"{place}: no such photo, folder or video")
    given_by_itself = {path for path, _ in found}
    listed.skipped = [row for row in listed.skipped if row[0] not in given_by_itself]
    stems = [stem for _, stem in found]
    for path, stem in found:
        # Of a.jpg and a.png beside each other, results are called a_jpg and a_png.
        own = stem if stems.count(stem) == 1 else stem.with_name(f"{stem.name}_{path.suffix[1:]}")
        listed.items.append(_item(path, folder / own, kinds))
    _check(listed.items, force)
    return listed


def _below(place: Path, folder: Path, skipped: list[tuple[Path, str]]) -> list[tuple[Path, Path]]:
    """Return the photos below a folder; what lies in the folder of results is none."""
    photos, results = [], folder.resolve()
    for path in sorted(place.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(place).parts)
        inside = results != place.resolve() and path.resolve().is_relative_to(results)
        if hidden or inside or not path.is_file():
            continue
        suffix = path.suffix.lower()
        if suffix in PHOTO_SUFFIXES:
            photos.append((path, path.relative_to(place).with_suffix("")))
        elif suffix in VIDEO_SUFFIXES:
            skipped.append((path, phrase("a video: give it by itself")))
        else:
            skipped.append((path, phrase("no photo")))
    return photos


def _item(path: Path, stem: Path, kinds: Sequence[str]) -> Item:
    is_video = path.suffix.lower() in VIDEO_SUFFIXES
    table = VIDEO_SUFFIX_OF if is_video else SUFFIXES
    outputs = {k: stem.with_name(stem.name + table[k]) for k in kinds if k in table}
    return Item(path, outputs, is_video)


def _check(items: Sequence[Item], force: bool) -> None:
    if without := [item.path for item in items if not item.outputs]:
        raise UserError(f"{without[0]}: of a video ids and overlay are written, and no sheet")
    outputs = [path for item in items for path in item.outputs.values()]
    if twice := {path for path in outputs if outputs.count(path) > 1}:
        raise UserError(f"{min(twice)} would be written twice: give these photos one by one")
    check_outputs(outputs, [item.path for item in items], force=True)
    there = [path for path in outputs if path.exists()]
    if there and not force:
        more = f" and {len(there) - 1} more of the results" if len(there) > 1 else ""
        raise UserError(
            f"{there[0]}{more} are there already; give another --output, or --force to write them "
            "anew"
        )
