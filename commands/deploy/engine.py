"""The engine that predict and evaluate run on a CPU: the exported net, from a cache."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from common.settings.run import Settings

if TYPE_CHECKING:
    from export.engine import Engine


def engine_for(
    settings: Settings,
    weights: str | Path,
    size_hw: tuple[int, int] | None,
    *,
    output: str = "logits",
    engine: str = "auto",
    threads: int | None = None,
    progress: Callable[[str], None] = lambda words: None,
) -> "Engine":
    """Export the net of a config with the weights of a file once, verified, and open it.

    Args:
        size_hw: height and width in pixels of the images that will come; None: any.
        output: "logits", "softmax" [N, C, H, W] float32, or "argmax" [N, H, W] int64.
        engine: "auto", "paddle" or "onnxruntime".
        progress: called with a phrase when a part of an export begins; it takes seconds.

    Raises as `export.make.job_paddle.export_net` does; ExportDiffers says that it is not the net.
    """
    from commands.deploy.subject_paddle import subject_of
    from export.cache_paddle import cached_engine

    subject = subject_of(settings, weights)
    height, width = size_hw or (None, None)
    deployment = subject.deployment(batch=1, height=height, width=width, output=output)
    return cached_engine(subject.build, deployment, subject.identity, engine, threads, progress)
