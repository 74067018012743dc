"""What `check_data` says: as JSON for machines, in lines for people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from commands.check_data.users import framework_of
from commands.entry import CHECKED_BAD, CHECKED_GOOD
from commands.subjects.named.config import own_of
from common.data.survey import (
    EMPTY,
    MIS_SEGMENTED,
    MIS_SIZED,
    MISLABELLED,
    SHARED,
    UNPAIRED,
    UNREADABLE,
    UNUSABLE,
    Survey,
)
from common.settings.run import Settings
from common.streams import say
from common.terminal import labelled, screen, verdict
from common.words.language import phrase, said
from common.words.texts import error_said

FIRST = 3  # findings of a kind that are shown
NAMED = 100  # that stand in JSON
EXPLAINED = {
    UNREADABLE: "files that cannot be read",
    MIS_SIZED: "pairs of image and label that differ in size",
    MISLABELLED: "labels with values that are no class",
    MIS_SEGMENTED: "ids of segments that only the map or only the list has",
    EMPTY: "files of 0 bytes, labels without any class",
    UNPAIRED: "files without their partner",
    SHARED: "photos that another split has, too",
    UNUSABLE: "photos that the augmentation refuses",
}


def as_json(settings: Settings, survey: Survey, pictures: Sequence[Path]) -> dict[str, Any]:
    """Return everything that was found as plain values; of a kind the first 100 files."""
    data, classes = settings.data, survey.classes
    pixels = {split: survey.pixels(split) for split in survey.frames}
    images = {split: survey.images(split) for split in survey.frames}
    return {
        "config": settings.name,
        "dataset": data.dataset,
        "root": str(data.root or ""),
        "good": not survey.findings,
        "splits": {
            split: {
                "frames": count,
                "ignored_pixels": int(pixels[split][-1]),
                "sizes": [list(size) for size in _ends(survey.sizes(split))],
            }
            for split, count in survey.frames.items()
        },
        "findings": {
            kind: {"count": len(rows), "first": [row._asdict() for row in rows[:NAMED]]}
            for kind, rows in survey.findings.items()
        },
        "values": {
            str(number): {
                "pixels": value.pixels,
                "files": len(value.files),
                "first": list(value.files[:NAMED]),
            }
            for number, value in survey.strange.items()
        },
        "classes": [
            {
                "name": name,
                "color": classes.colors[index].tolist(),
                "pixels": {split: int(pixels[split][index]) for split in survey.frames},
                "images": {split: int(images[split][index]) for split in survey.frames},
            }
            for index, name in enumerate(classes.names)
        ],
        "photos": survey.traits,
        **({"objects": survey.objects} if survey.objects else {}),
        "pictures": [str(path) for path in pictures],
    }


def show(settings: Settings, survey: Survey, pictures: Sequence[Path], quiet: bool) -> None:
    """Print the result for people; `quiet`: the verdict alone."""
    console, findings = screen(), survey.findings
    if not quiet:
        for line in labelled(_head(settings, survey)):
            say(line)
        console.print(_class_table(survey))
        for kind, rows in findings.items():
            about = {"count": len(rows), "kind": said(kind), "what": said(EXPLAINED[kind])}
            say(phrase("{kind}: {count} ({what})", **about))
            for row in rows[:FIRST]:
                say(f"  {error_said(row.said)}")
            if len(rows) > FIRST:
                say(f"  {phrase('and {count} more', count=len(rows) - FIRST)}")
        for number, value in list(survey.strange.items())[:NAMED]:
            about = {"value": number, "count": value.pixels, "second": len(value.files)}
            line = phrase("value {value}: {count} pixels in {second} files", **about)
            say(f"  {line}: {', '.join(value.files[:FIRST])}")
        say(phrase("written: {paths}", paths=", ".join(map(str, pictures))))
    total = sum(survey.frames.values())
    if findings:
        wrong = sum(map(len, findings.values()))
        words = phrase("{count} frames read, {second} findings", count=total, second=wrong)
    else:
        words = phrase("{count} frames read, nothing is wrong with them", count=total)
    verdict(console, CHECKED_BAD if findings else CHECKED_GOOD, words)


def _head(settings: Settings, survey: Survey) -> list[tuple[str, str]]:
    """Return labels and values: the set, its splits, what photos are not plain."""
    data = settings.data
    own = own_of(settings, "data", framework_of(settings, "data"))
    rows = [(phrase("data"), str(own) if own else f"{data.dataset}, {data.root}")]
    for split, count in survey.frames.items():
        sizes = " - ".join(f"{width}x{height}" for height, width in _ends(survey.sizes(split)))
        frames = phrase("{count} frames, width x height {sizes}", count=count, sizes=sizes or "?")
        rows.append((split, frames))
        if objects := survey.objects.get(split):
            told = "dropped {dropped} objects of no pixel, left out {left_out} images of no object"
            rows.append(("", phrase(told, **objects)))
    if survey.traits:
        told = ", ".join(f"{said(name)} {count}" for name, count in survey.traits.items())
        rows.append((phrase("photos"), told))
    return rows


def _class_table(survey: Survey) -> Any:
    """Return the pixels (share in %) and the images of each class, by split."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(phrase("class"))
    splits = [split for split in survey.frames if survey.pixels(split).any()]
    for split in splits:
        table.add_column(f"{split} %", justify="right")
        table.add_column(phrase("images"), justify="right")
    shares = {split: _shares(survey.pixels(split)) for split in splits}
    images = {split: survey.images(split) for split in splits}
    for index, name in enumerate(survey.classes.names):
        cells = [cell for s in splits for cell in (shares[s][index], str(images[s][index]))]
        table.add_row(name, *cells)
    void = [cell for s in splits for cell in (shares[s][-1], "")]
    table.add_row(phrase("(does not count)"), *void)
    return table


def _shares(pixels: np.ndarray) -> list[str]:
    total = max(int(pixels.sum()), 1)
    return [f"{100 * count / total:.3g}" if count else "-" for count in pixels.tolist()]


def _ends(sizes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the smallest and the largest size."""
    return [sizes[0], sizes[-1]] if len(sizes) > 1 else list(sizes)
