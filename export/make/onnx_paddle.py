"""A Paddle inference model as ONNX; nothing is installed while it is written."""

from importlib.util import find_spec
from pathlib import Path

import paddle

from common.errors import UserError
from common.streams import set_aside

OPSET = 14
OLDEST_PADDLE = 3  # whose files paddle2onnx 2 reads


def is_possible() -> bool:
    """Tell whether what writes and what runs ONNX are installed, and Paddle is 3 or later."""
    recent = int(paddle.__version__.split(".")[0]) >= OLDEST_PADDLE
    return recent and all(find_spec(name) for name in ("paddle2onnx", "onnxruntime"))


def write_onnx(model: Path, path: Path) -> Path:
    """Write the inference model `model` as ONNX to `path`; return it.

    Raises UserError where paddle2onnx is absent, or an operation has no form in ONNX.
    """
    if not is_possible():
        raise UserError(
            "ONNX needs Paddle 3, paddle2onnx and onnxruntime: pip install "
            "'torch2paddle-seg[onnx]'; --format paddle exports for Paddle alone"
        )
    import paddle2onnx

    # Without a file to write it returns the bytes as they are; what writes the file also calls an
    # optimiser that installs packages by itself. ONNX Runtime optimises when it opens the file.
    weights = str(model.with_suffix(".pdiparams"))
    with set_aside() as told:
        try:
            made = paddle2onnx.export(str(model), weights, opset_version=OPSET, verbose=False)
            error = "".join(told().splitlines()[-1:])
        except Exception as raised:
            made, error = None, str(raised)
    if not made:
        raise UserError(f"{model.name}: paddle2onnx cannot write it as ONNX: {error}")
    path.write_bytes(made)
    return path
