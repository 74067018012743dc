"""What a run says about itself before it begins."""

from collections.abc import Mapping
from typing import Any

from common.evaluation.side import Side
from common.settings.data import OwnData
from common.settings.run import Settings
from common.settings.section import flatten
from common.settings.volumes import VolumeKeys
from common.words.language import phrase


def settings_block(
    settings: Settings, side: Side, frames: tuple[int, int], folder: str
) -> list[tuple[str, str]]:
    """Label and value of every setting worth a line. frames: of training and validation."""
    data, train = settings.data, settings.train
    weights = settings.weights
    held = f" ({weights.row})" if weights.row else ""
    into = weights.into or phrase("the whole net")
    start = phrase("{path}{row} into {place}", path=weights.path, row=held, place=into)
    start = start if weights.path else phrase("none")
    batches = " x ".join(map(str, (data.cards, data.iter_size, data.batch_size)))
    where = _listed(data.options) if isinstance(data, OwnData) else data.root
    protocol = settings.evaluate.model_dump(exclude_defaults=True, exclude={"batch_size"})
    named = {"name": settings.name, "seed": settings.seed, "folder": folder}
    of_side = {"name": side.framework, "version": side.version, "device": side.device}
    several = {"count": side.group.size, "backend": side.group.backend}
    processes = phrase(", {count} processes ({backend})", **several) if side.group.several else ""
    model = settings.model
    own = getattr(model, side.framework, None)  # its callable, where the net is the user's
    shape = phrase("{name}, {count} classes", name=own or model.name, count=model.num_classes)
    seen = {"place": where, "train": frames[0], "val": frames[1]}
    total = {"total": settings.total_batch, "parts": batches}
    rounds = f"{epochs(settings, frames[0]):.1f}"
    long = {"count": f"{train.iterations:,}", "epochs": rounds}
    every = phrase("every {count}", count=f"{train.eval_interval:,}")
    return [
        ("run", phrase("{name}, seed {seed}, in {folder}", **named)),
        ("framework", phrase("{name} {version} on {device}", **of_side) + processes),
        ("net", _with_options(shape, settings.model.options)),
        ("parameters", f"{side.parameter_count():,}"),
        ("weights", start),
        ("data", phrase("{place}: {train} training, {val} validation frames", **seen)),
        ("crop", _cut(data)),
        ("batch", phrase("{total} = {parts} (cards, iter_size, batch_size)", **total)),
        ("loss", _with_options(settings.loss.name, settings.loss_options)),
        ("optimizer", _with_options(settings.optimizer.name, settings.optimizer.options)),
        ("schedule", _with_options(settings.schedule.name, settings.schedule.options)),
        ("iterations", phrase("{count}, {epochs} epochs", **long)),
        ("evaluation", _with_options(every, protocol)),
        *_where_set(settings),
    ]


def _cut(data: Any) -> str:
    """Say how large training samples are, and how they are augmented."""
    name = data.augmentation.name
    if isinstance(data, VolumeKeys):
        patch = "x".join(map(str, data.patch_shape))
        return phrase("{crop} (depth x height x width), augmented as {name}", crop=patch, name=name)
    crop = "x".join(map(str, data.crop_hw)) if data.crop_hw else phrase("whole images")
    return phrase("{crop} (height x width), augmented as {name}", crop=crop, name=name)


def _where_set(settings: Settings) -> list[tuple[str, str]]:
    """Label and value of what most runs leave as it is, where this one does not."""
    train = settings.train
    chosen = {
        "frozen": settings.freeze.model_dump(exclude_defaults=True),
        "average": train.ema.model_dump() if train.ema else {},
        "early stop": train.early_stop.model_dump() if train.early_stop else {},
        "precision": train.model_dump(
            include={"precision", "amp", "tf32", "channels_last", "compile"}, exclude_defaults=True
        ),
    }
    return [(label, _listed(options)) for label, options in chosen.items() if options]


def _with_options(text: str, options: Mapping[str, Any]) -> str:
    """Return `text` with the options behind it, alone where there are none."""
    listed = _listed(options)
    return phrase("{text} ({options})", text=text, options=listed) if listed else text


def _listed(options: Mapping[str, Any]) -> str:
    """Options in one line; None, which stands for a default, is left out."""
    flat = flatten(options).items()
    return ", ".join(f"{key}={value}" for key, value in flat if value is not None)


def epochs(settings: Settings, frames: int) -> float:
    """How often the run sees every frame."""
    data = settings.data
    per_epoch = (frames + -frames % data.cards) // (data.batch_size * data.cards)
    return settings.train.iterations * data.iter_size / max(per_epoch, 1)


def differences(settings: Settings, processes: int = 1) -> list[str]:
    """What is not as on the recipe's own number of cards; empty where nothing differs."""
    data, total, pattern = settings.data, settings.total_batch, settings.processes.sync_norm
    recipe, size, own = data.cards, data.batch_size, settings.micro_batches // processes
    if recipe == processes:
        return []
    where = f"on {processes} card" if processes == 1 else f"on each of {processes} cards"
    notes = [
        f"the recipe has {recipe} cards of {size} images; {where} the gradients of "
        f"{own} micro-batches of {size} are averaged to the same total of {total}"
    ]
    if settings.min_kept is not None:
        notes.append(
            f"as there, OHEM (at least {settings.min_kept:,} pixels) sees {size} images at a time"
        )
    if pattern is None:
        notes.append(f"as there, BatchNorms see {size} images at a time")
    else:
        notes.append(
            f"otherwise than there, the BatchNorms of processes.sync_norm see {size * processes} "
            f"images at a time, not {size * recipe}"
        )
    if own != data.iter_size:
        notes.append(
            f"otherwise than there, running statistics move {own} times an iteration, not "
            f"{data.iter_size}"
        )
    return notes
