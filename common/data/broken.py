"""Frames that cannot be read: a training may leave them out, by name (`data.skip_broken`)."""

from typing import Any, Protocol

from common.data.batch import Sample
from common.errors import ConfigError, DamagedFileError, DataError, SizeMismatchError, UserError

MOST_IN_A_ROW = 16  # broken frames: more are no accident


class CanSkip(Protocol):
    """A data set that may leave frames out.

    Attributes:
        skips: errors of a sample that stand for a broken frame; none: nothing is left out.
        broken: {index: reason} of those that were met.
    """

    source: Any
    skips: tuple[type[Exception], ...]
    broken: dict[int, str]

    def __len__(self) -> int: ...

    def sample(self, epoch: int, index: int) -> Sample:
        """Return image and target."""
        ...


def skip_broken(dataset: CanSkip, own: bool = False) -> None:
    """Let `dataset` leave out frames that are damaged or absent, or of another size than the label.

    own: its code is the user's: whatever that raises of a frame.
    """
    dataset.skips = (UserError,) if own else (DamagedFileError, SizeMismatchError)


def usable_sample(dataset: CanSkip, epoch: int, index: int) -> Sample:
    """Return the sample; where its frame is broken and may be left out, the next one's.

    It depends on (epoch, index) alone, so it is the same in any process.
    Raises what `sample` raises, and DataError where too many in a row are broken.
    """
    first = ""
    for step in range(min(MOST_IN_A_ROW, len(dataset))):
        place = (index + step) % len(dataset)
        try:
            return dataset.sample(epoch, place)
        except UserError as error:
            if not _is_of_a_frame(error, dataset.skips):
                raise
            dataset.broken[place] = str(error)
            first = first or str(error)
    raise DataError(
        f"{min(MOST_IN_A_ROW, len(dataset))} frames in a row cannot be read, and data.skip_broken "
        f"leaves out single ones: is data.root whole, and still there? The first: {first}"
    )


def usable_index(dataset: CanSkip, index: int) -> int:
    """Return the index whose frame stood for `index` once its sample was read."""
    while index in dataset.broken and len(dataset.broken) < len(dataset):
        index = (index + 1) % len(dataset)
    return index


def name_of(dataset: CanSkip, index: int) -> str:
    """Return the file of a frame, or its number where the data set does not tell."""
    frames = getattr(dataset.source, "frames", None)
    return str(frames[index].image) if frames else f"item {index}"


def _is_of_a_frame(error: Exception, skips: tuple[type[Exception], ...]) -> bool:
    """Tell whether it, or what it was raised for, says that a frame is broken."""
    cause = error.__context__ if type(error) is DataError else None
    return not isinstance(error, ConfigError) and (
        isinstance(error, skips) or isinstance(cause, skips)
    )
