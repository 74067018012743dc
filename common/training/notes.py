"""What a run says about itself before it begins."""

from collections.abc import Mapping
from typing import Any

from common.evaluation.side import Side
from common.settings.data import OwnData
from common.settings.run import Settings
from common.settings.section import flatten


def settings_block(
    settings: Settings, side: Side, frames: tuple[int, int], folder: str
) -> list[tuple[str, str]]:
    """Label and value of every setting worth a line. frames: of training and validation."""
    data, train = settings.data, settings.train
    crop = "x".join(map(str, data.crop_hw)) if data.crop_hw else "whole images"
    weights = settings.weights
    held = f" ({weights.row})" if weights.row else ""
    start = f"{weights.path}{held} into {weights.into or 'the whole net'}"
    start = start if weights.path else "none"
    options = _listed(settings.model.options)
    batches = " x ".join(map(str, (data.cards, data.iter_size, data.batch_size)))
    where = _listed(data.options) if isinstance(data, OwnData) else data.root
    protocol = settings.evaluate.model_dump(exclude_defaults=True, exclude={"batch_size"})
    return [
        ("run", f"{settings.name}, seed {settings.seed}, in {folder}"),
        ("framework", f"{side.framework} {side.version} on {side.device}"),
        ("net", f"{settings.model.name}, {settings.model.num_classes} classes ({options})"),
        ("parameters", f"{side.parameter_count():,}"),
        ("weights", start),
        ("data", f"{where}: {frames[0]} training, {frames[1]} validation frames"),
        ("crop", f"{crop} (height x width), augmented as {data.augmentation.name}"),
        ("batch", f"{settings.total_batch} = {batches} (cards, iter_size, batch_size)"),
        ("loss", f"{settings.loss.name} ({_listed(settings.loss_options)})"),
        ("optimizer", f"{settings.optimizer.name} ({_listed(settings.optimizer.options)})"),
        ("schedule", f"{settings.schedule.name} ({_listed(settings.schedule.options)})"),
        ("iterations", f"{train.iterations:,}, {epochs(settings, frames[0]):.1f} epochs"),
        ("evaluation", f"every {train.eval_interval:,} ({_listed(protocol)})"),
    ]


def _listed(options: Mapping[str, Any]) -> str:
    """Options in one line; None, which stands for a default, is left out."""
    flat = flatten(options).items()
    return ", ".join(f"{key}={value}" for key, value in flat if value is not None)


def epochs(settings: Settings, frames: int) -> float:
    """How often the run sees every frame."""
    data = settings.data
    per_epoch = (frames + -frames % data.cards) // (data.batch_size * data.cards)
    return settings.train.iterations * data.iter_size / max(per_epoch, 1)


def differences(settings: Settings, cards: int = 1) -> list[str]:
    """What is not as on the recipe's own number of cards; empty where nothing differs."""
    recipe, size = settings.data.cards, settings.data.batch_size
    if recipe <= cards:
        return []
    total = recipe * size
    averaged = (
        f"the recipe has {recipe} cards of {size} images; on {cards} card the gradients of "
        f"{recipe} micro-batches of {size} are averaged to the same total of {total}"
    )
    if settings.loss.name != "stdc":
        return [
            averaged,
            f"BatchNorms see {size} images at a time, and their running statistics move with "
            f"every micro-batch; cards that synchronise them see all {total}",
        ]
    return [
        averaged,
        f"as there, OHEM (at least {settings.min_kept:,} pixels) and the BatchNorms of the "
        f"backbone see {size} images at a time",
        f"otherwise than there, the BatchNorms of the heads see {size} images too: the authors "
        f"synchronise those over all {total}",
        f"otherwise than there, running statistics move with every micro-batch, {recipe} times an "
        "iteration; the authors' backbone keeps those of its first card",
    ]
