"""What a config says of labels of one's own: the classes, and what the values of the files mean."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator
from typing_extensions import Self

from common.data.classes import Classes, make_classes, read_class_file
from common.data.labels import VALUES, Labelling
from common.errors import DataError, UserError
from common.settings.section import NotNegative, Positive, Section

Byte = Annotated[int, Field(ge=0, le=255)]
Value = Annotated[int, Field(ge=0, lt=VALUES)]  # of a label file
_WAYS = ("class_names", "class_file", "num_classes")


class LabelOptions(Section):
    """Classes are told in one of three ways: by names, by a file of names, by their number."""

    root: str
    class_names: tuple[str, ...] | None = None
    class_file: str | None = None  # a name a line, relative to root
    num_classes: Positive | None = None
    colors: tuple[tuple[Byte, Byte, Byte], ...] | None = None  # by class, RGB; none: VOC's
    ignore_index: Value = 255  # of pixels that do not count
    label_map: dict[int, NotNegative] | None = None  # value -> class or ignore_index: all there are
    reduce_zero_label: bool = False  # 0 does not count, and 1 is class 0

    @model_validator(mode="after")
    def _classes_are_told_once(self) -> Self:
        told = [way for way in _WAYS if getattr(self, way) is not None]
        if len(told) != 1:
            got = "none of them is set" if not told else f"{' and '.join(told)} are set"
            raise ValueError(
                f"{got}; say which classes there are by one of class_names (a list), "
                "class_file (labels.txt, say, a name a line), num_classes"
            )
        if self.class_file is not None and self.colors is not None:
            raise ValueError("data.colors: of a class_file the colours stand in it: `name R G B`")
        if self.class_file is None:
            try:
                self.labelling()
            except UserError as error:
                raise ValueError(str(error)) from None
        return self

    def labelling(self) -> Labelling:
        """Return what the values of the labels mean; reads `class_file`.

        Raises UserError where the file is not readable, or the keys contradict each other.
        """
        return Labelling(self._classes(), self.ignore_index, self.label_map, self.reduce_zero_label)

    def _classes(self) -> Classes:
        if self.class_file is None:
            names: Sequence[str] = self.class_names or [
                f"class {index}" for index in range(self.num_classes or 0)
            ]
            told = "class_names" if self.class_names is not None else "num_classes"
            return make_classes(names, self.colors, f"data.{told}")
        path = Path(self.root) / self.class_file
        if not path.is_file():
            raise DataError(
                f"data.class_file: {path.absolute()} is not there; it is looked for in data.root, "
                "and holds a class name a line"
            )
        return read_class_file(path)
