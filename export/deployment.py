"""What `deploy.yaml` beside an exported model says: files, input, preprocessing, classes, output.

Section `Deploy` has the names that PaddleSeg's deployment reads; `torch2paddle` what it has no
name for.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import Field

from common.documents import checked, load_yaml
from common.errors import UnreadableError
from common.files import require_file

NAME = "deploy.yaml"
OWN = "torch2paddle"  # our section
OUTPUTS = ("logits", "softmax", "argmax")
SWAP = "RGB2BGR"  # no class of PaddleSeg's: a net fed with BGR stops it, for it would be wrong
_OPERATORS = {"logits": "none", "softmax": "softmax", "argmax": "argmax"}  # PaddleSeg's words
_DTYPES = {"logits": "float32", "softmax": "float32", "argmax": "int64"}


Side = Annotated[int, Field(ge=1, le=2**20)]  # of an input
Byte = Annotated[int, Field(ge=0, le=255)]


@dataclass(frozen=True)
class Deployment:
    """How an exported model is fed, and what it returns.

    Attributes:
        net: name of the config that it was made of.
        model: Paddle's file, beside `deploy.yaml`: .json (Paddle 3) or .pdmodel (2.6).
        params: the file of its weights.
        onnx: the ONNX file, where one was written.
        weights_sha256: of the file of weights.
        batch, height, width: of the input [N, 3, H, W]; None: free.
        size_step: heights and widths that it takes: (8, 1) means of the form 8k + 1.
        channels: "rgb" or "bgr".
        pixel_range: 1: pixels are divided by 255 first; 255: they are not.
        mean, std: subtracted, then divided by, in that order and range.
        output: one of OUTPUTS. logits, softmax: float32 [N, C, H, W]; argmax: int64 [N, H, W].
        net_size: whether the output has the size that the net itself returns, whatever it is.
        early_argmax: classes were chosen before the last resize: other borders.
        align_corners: how logits are to be resized, in the graph or after it.
        class_names: by class.
        colors: RGB 0..255 by class.
        ignore_index: label of pixels that do not count.
    """

    net: str
    model: str
    params: str | None
    onnx: str | None = None
    weights_sha256: str | None = None
    batch: Side | None = 1
    height: Side | None = None
    width: Side | None = None
    size_step: tuple[Side, int] = (1, 0)
    channels: Literal["rgb", "bgr"] = "rgb"
    pixel_range: Literal[1, 255] = 1
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    output: Literal["logits", "softmax", "argmax"] = "logits"
    net_size: bool = False
    early_argmax: bool = False
    align_corners: bool = False
    class_names: tuple[str, ...] = ()
    colors: tuple[tuple[Byte, Byte, Byte], ...] = ()
    ignore_index: int = 255

    @property
    def input_shape(self) -> list[int]:
        """[N, 3, H, W]; -1 where it is free."""
        return [self.batch or -1, 3, self.height or -1, self.width or -1]

    def normalise(self, image: np.ndarray) -> np.ndarray:
        """Return `image` uint8 [H, W, 3] RGB as the net is fed: float32 [3, H, W].

        Equal to the bit to what training does (`common.data.transforms.images.Normalisation`).
        """
        planes = np.asarray(image).transpose(2, 0, 1)
        made = np.array(planes[::-1] if self.channels == "bgr" else planes, np.float32, order="C")
        if self.pixel_range == 1:
            made /= np.float32(255)
        made -= np.asarray(self.mean, np.float32)[:, None, None]
        made /= np.asarray(self.std, np.float32)[:, None, None]
        return made

    def palette(self) -> np.ndarray:
        """Return the colours as uint8 [256, 3]; black where a class has none."""
        table = np.zeros((256, 3), np.uint8)
        if self.colors:
            table[: len(self.colors)] = np.asarray(self.colors, np.uint8)
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return the document as plain values."""
        deploy = {
            "model": self.model,
            "params": self.params,
            "transforms": self._transforms(),
            "input_shape": self.input_shape,
            "output_op": _OPERATORS[self.output],
            "output_dtype": _DTYPES[self.output],
        }
        own = {key: _plain(value) for key, value in asdict(self).items()}
        return {"Deploy": deploy, OWN: own}

    def _transforms(self) -> list[dict[str, Any]]:
        """Return what is done to a photo, as arguments of PaddleSeg's classes of these names.

        Its loader feeds RGB; of what it has no class for it says so, and does not go on.
        """
        swap = [{"type": SWAP}] if self.channels == "bgr" else []
        fixed = self.height is not None and self.width is not None
        resize = [{"type": "Resize", "target_size": [self.width, self.height]}] if fixed else []
        divide = 255 if self.pixel_range == 255 else 1
        normalize = {
            "type": "Normalize",  # PaddleSeg's divides by 255 first
            "mean": [value / divide for value in self.mean],
            "std": [value / divide for value in self.std],
        }
        return [*swap, *resize, normalize]

    def write(self, path: Path) -> None:
        """Write it as YAML to `path`."""
        text = yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)
        path.write_text(text, encoding="utf-8")


def fitting(length: int, step: tuple[int, int]) -> int:
    """Return the smallest length in pixels, from `length` on, that a net of this step takes."""
    multiple, plus = step
    return -(-max(length - plus, 0) // multiple) * multiple + plus


def _plain(value: Any) -> Any:
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def read_deployment(place: str | Path) -> tuple[Deployment, Path]:
    """Return what a folder's `deploy.yaml`, or that file, says, and the folder.

    Raises UnreadableError where it is absent, no YAML, or of another program.
    """
    path = Path(place)
    path = path / NAME if path.is_dir() else path
    try:
        document = load_yaml(require_file(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path}: no YAML: {' '.join(str(error).split())}") from None
    own = document.get(OWN) if isinstance(document, Mapping) else None
    if not isinstance(own, Mapping):
        raise UnreadableError(
            f"{path}: has no section {OWN}: it was not written by tools/export.py; export the net "
            "again, or give a config and weights"
        )
    known = {key: value for key, value in own.items() if key in Deployment.__annotations__}
    found: Deployment = checked(Deployment, known, OWN, str(path))
    for name in (found.model, found.params, found.onnx):
        if name is not None and Path(name).name != name:
            raise UnreadableError(f"{path}: names the file {name[:80]!r}, which is not beside it")
    return found, path.parent
