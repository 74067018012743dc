"""What answers for the net of a config: its layers in a framework, or an exported file."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.evaluate.engine_net import EngineNet, OfFolder, Size
from commands.subjects.named.parts import Parts
from commands.subjects.named.weights import Loaded, load_weights
from common.errors import UserError
from common.evaluation.protocol import Inference
from common.settings.run import SEMANTIC, Settings

if TYPE_CHECKING:
    from export.deployment import Deployment
    from export.engine import Engine

Tell = Callable[[str], None]
FIXED = 2  # sizes of images for which nets are exported each; for more, one of free size


@dataclass(frozen=True)
class Running:
    """How a net is to be run: device, engine (a name of `options.ENGINES`), threads.

    tell: is given what a person should know, and what takes seconds.
    """

    device: str = "cpu"
    engine: str = "auto"
    threads: int | None = None
    tell: Tell = lambda words: None


@dataclass(frozen=True)
class Asked:
    """A net that answers.

    inference: asked by arrays. loaded: what became of its weights.
    """

    inference: Inference
    loaded: Loaded = field(default_factory=Loaded)

    @property
    def runs(self) -> str:
        """What runs it; of an exported net once it has run."""
        return str(self.inference)


def asked(parts: Parts, weights: Path, running: Running) -> Asked:
    """Return what answers for the net of a config, filled with `weights`.

    Raises UserError, ConversionError where the file does not fit, or the engine is not there.
    """
    semantic = parts.settings.model.task == SEMANTIC
    if not semantic and (weights.is_dir() or running.engine not in ("auto", "eager")):
        raise UserError(
            f"{weights}: {parts.settings.model.name} is a net of {parts.settings.model.task} "
            "segmentation, which is not exported yet: it runs as layers (--engine eager), from a "
            ".pdparams or a checkpoint of PyTorch"
        )
    if weights.is_dir():
        return _of_folder(parts.settings, weights, running)
    net, loaded = _filled(parts, weights, running.device)
    eager, as_layers = parts.inference(net), running.device == "gpu" or running.engine == "eager"
    if parts.framework == "torch" or as_layers or not semantic:
        return Asked(eager, loaded)
    return Asked(OnDemand(parts.settings, weights, running, eager), loaded)


def _filled(parts: Parts, weights: Path, device: str) -> tuple[Any, Loaded]:
    """Return the net on the device, with all its weights."""
    if parts.framework == "torch":
        from torch_ref.train import choose_device as on_torch

        place = on_torch(device)
        net = parts.net()
        loaded = load_weights(parts, net, weights)
        return net.to(place), loaded
    from paddle_impl.train import choose_device as on_paddle

    on_paddle(device)
    net = parts.net()
    return net, load_weights(parts, net, weights)


class OnDemand:
    """The exported net of a config, exported for each size as it comes, and verified.

    Where the engine is "auto" and the net cannot be exported, or the export is not the net, the
    layers answer instead, which is told. `opening` is how many seconds all exports took.
    """

    def __init__(
        self, settings: Settings, weights: Path, running: Running, eager: Inference
    ) -> None:
        self.settings, self.weights, self.running = settings, weights, running
        self.eager: Inference = eager
        self.exported: EngineNet | None = EngineNet(self._open)
        self.engines: dict[tuple[Size | None, str], Engine] = {}  # None: of free size
        self.sizes: set[Size] = set()  # of images
        self.opening = 0.0

    def __str__(self) -> str:
        """Say what ran."""
        names = {engine.name for engine in self.engines.values()}
        said = [f"{name}, exported, cpu" for name in sorted(names)]
        return "; ".join(said if self.exported else [*said, str(self.eager)])

    def classes(self, image: Any, seen_hw: Size, align_corners: bool) -> Any:
        """Return the class of the largest logit: int64 [N, H, W]."""
        return self._net("argmax", image, seen_hw).classes(image, seen_hw, align_corners)

    def probabilities(self, image: Any, seen_hw: Size, align_corners: bool) -> Any:
        """Return the softmax of the logits: [N, C, H, W]."""
        return self._net("softmax", image, seen_hw).probabilities(image, seen_hw, align_corners)

    def _net(self, output: str, image: Any, seen_hw: Size) -> Inference:
        """Return who answers for images of this size."""
        if self.exported is None:
            return self.eager
        begin = time.perf_counter()
        try:
            self._open(seen_hw, (image.shape[2], image.shape[3]), output)
        except UserError as error:
            if self.running.engine != "auto":
                raise
            self.running.tell(f"runs as layers, slower: {error}")
            self.exported = None
            return self.eager
        finally:
            self.opening += time.perf_counter() - begin
        return self.exported

    def _open(self, seen_hw: Size, own_hw: Size, output: str) -> "Engine":
        # Logits are brought to another size outside: in the graph that takes four times as long.
        key: tuple[Size | None, str] = (seen_hw, output if seen_hw == own_hw else "logits")
        self.sizes.add(own_hw)
        if key not in self.engines and len(self.sizes) > FIXED:
            key = (None, "logits")
        if key not in self.engines:
            from commands.deploy.engine import engine_for

            running = self.running
            self.engines[key] = engine_for(
                self.settings,
                self.weights,
                key[0],
                output=key[1],
                engine=running.engine,
                threads=running.threads,
                progress=running.tell,
            )
        return self.engines[key]


def _of_folder(settings: Settings, folder: Path, running: Running) -> Asked:
    from export.engines import open_engine

    if running.device == "gpu" or running.engine == "eager":
        raise UserError(f"{folder}: an exported net runs on the CPU, by an engine of its own")
    engine = open_engine(folder, running.engine, running.threads)
    if engine.deployment is None:
        raise UserError(f"{folder}: no deploy.yaml beside the model, which says how it is fed")
    _require_same(settings, engine.deployment, folder)
    return Asked(OfFolder(engine, exact=True))


def _require_same(settings: Settings, deployment: "Deployment", folder: Path) -> None:
    """Raise UserError where a model is fed otherwise, or has other classes, than the config."""
    fed = settings.data.normalisation
    pairs = [
        (f"data.normalisation.{name}", getattr(fed, name), getattr(deployment, name))
        for name in ("channels", "pixel_range", "mean", "std")
    ]
    pairs.append(("model.num_classes", settings.model.num_classes, len(deployment.class_names)))
    for key, ours, theirs in pairs:
        if ours != theirs:
            raise UserError(
                f"{folder}: was exported with {key} {theirs}, and the config says {ours}: give the "
                "config that it was exported from"
            )
