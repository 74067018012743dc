"""How a net is asked: options of evaluate and predict that stand for keys of a config."""

import argparse
import json
import os
from collections.abc import Sequence
from typing import Final

import yaml
from pydantic import ValidationError

from commands import numbers
from common.errors import ConfigError
from common.settings.run import Evaluate

ENGINES: Final = ("auto", "eager", "paddle", "onnxruntime")
# STDC-Seg, evaluation.py, MscEvalV0: image and logits are resized with aligned corners.
_STDC: Final = ("align_corners=true", "scales=null", "window_hw=null", "flip=false", "absent=nan")
PROTOCOLS: Final[dict[str, tuple[str, ...]]] = {
    "whole": ("scale=1", "scales=null", "window_hw=null", "flip=false"),
    "stdc50": ("scale=0.5", *_STDC),
    "stdc75": ("scale=0.75", *_STDC),
}


def add_protocol(command: argparse.ArgumentParser) -> None:
    """Add the options that replace keys of the section `evaluate`."""
    group = command.add_argument_group(
        "protocol", "instead of the config's section `evaluate`; the other options add to it"
    )
    group.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        help="whole: whole images; stdc50, stdc75: as STDC's authors evaluate at that scale",
    )
    group.add_argument(
        "--scale", type=numbers.factor, metavar="S", help="the net sees images resized by S"
    )
    group.add_argument(
        "--scales",
        type=numbers.factors,
        metavar="S,S,..",
        help="multi-scale: the mean softmax of all",
    )
    group.add_argument(
        "--flip", action=argparse.BooleanOptionalAction, help="and of the mirror images"
    )
    group.add_argument("--window", type=numbers.size_hw, metavar="WxH", help="windows that slide")
    group.add_argument(
        "--stride",
        type=numbers.share,
        metavar="X",
        help="of windows, as a share of their size (2/3)",
    )


def add_running(command: argparse.ArgumentParser) -> None:
    """Add what runs the net, and where."""
    group = command.add_argument_group("what runs the net")
    group.add_argument(
        "--engine",
        choices=ENGINES,
        help="on a CPU Paddle's nets run exported, which is several times faster: auto (the "
        "default) takes the fastest here; eager is the net as it is trained",
    )
    group.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    group.add_argument("--threads", type=numbers.positive, default=os.cpu_count() or 1)


def overrides(options: argparse.Namespace) -> list[str]:
    """Return what the options of `add_protocol` say as `evaluate.key=value`."""
    given = [*PROTOCOLS.get(options.protocol or "", ())]
    if options.scale is not None:
        given += [f"scale={options.scale!r}", "scales=null"]
    if options.scales is not None:
        given += ["scale=1", f"scales={list(options.scales)!r}"]
    if options.flip is not None:
        given.append(f"flip={str(options.flip).lower()}")
    if options.window is not None:
        given.append(f"window_hw={list(options.window)!r}")
    if options.stride is not None:
        given.append(f"stride={options.stride!r}")
    return [f"evaluate.{text}" for text in given]


def evaluate_of(given: Sequence[str], base: Evaluate) -> Evaluate:
    """Return `base` with what `overrides` gave. Raises ConfigError."""
    pairs = [text.removeprefix("evaluate.").partition("=") for text in given]
    changed = {key: yaml.safe_load(value) for key, _, value in pairs}
    try:
        return Evaluate.model_validate_json(json.dumps({**base.model_dump(mode="json"), **changed}))
    except ValidationError as error:
        raise ConfigError("; ".join(row["msg"] for row in error.errors())) from None


def set_threads(options: argparse.Namespace, framework: str) -> None:
    """Set the number of threads, before a framework is loaded."""
    # Paddle's kernels follow MKL's number, and it warns of any other of OpenMP's than 1.
    name = "MKL_NUM_THREADS" if framework == "paddle" else "OMP_NUM_THREADS"
    os.environ[name] = str(options.threads)
