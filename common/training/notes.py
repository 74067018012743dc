"""What a run says about itself before it begins."""

from common.settings import Settings
from common.training.side import Side


def settings_block(
    settings: Settings, side: Side, frames: tuple[int, int], folder: str
) -> list[tuple[str, str]]:
    """Label and value of every setting worth a line. frames: of training and validation."""
    data, train = settings.data, settings.train
    height, width = data.crop_hw
    weights = settings.weights
    start = f"{weights.path} into {weights.into or 'the whole net'}" if weights.path else "none"
    options = ", ".join(f"{key}={value}" for key, value in settings.model.options.items())
    ohem, rate = settings.loss.ohem, settings.schedule
    warmup = f", {rate.warmup_steps} steps of warm-up from {rate.warmup_start_lr:g}"
    return [
        ("run", f"{settings.name}, seed {settings.seed}, in {folder}"),
        ("framework", f"{side.framework} {side.version} on {side.device}"),
        ("net", f"{settings.model.name}, {settings.model.num_classes} classes ({options})"),
        ("parameters", f"{side.parameter_count():,}"),
        ("weights", start),
        ("data", f"{data.root}: {frames[0]} training, {frames[1]} validation frames"),
        ("crop", f"{height} x {width} (height x width)"),
        ("batch", f"{settings.total_batch} = {data.cards} x {data.batch_size}"),
        ("loss", f"OHEM over {ohem.threshold:g}, at least {settings.min_kept:,} pixels; detail"),
        ("schedule", f"{rate.name} {rate.base_lr:g}{warmup if rate.warmup_steps else ''}"),
        ("iterations", f"{train.iterations:,}, {epochs(settings, frames[0]):.1f} epochs"),
        ("evaluation", f"scale {settings.evaluate.scale:g} every {train.eval_interval:,}"),
    ]


def epochs(settings: Settings, frames: int) -> float:
    """How often the run sees every frame."""
    per_epoch = (frames + -frames % settings.data.cards) // settings.total_batch
    return settings.train.iterations / max(per_epoch, 1)


def differences(settings: Settings, cards: int = 1) -> list[str]:
    """What is not as on the recipe's own number of cards; empty where nothing differs."""
    recipe, size = settings.data.cards, settings.data.batch_size
    if recipe <= cards:
        return []
    total = settings.total_batch
    return [
        f"the recipe has {recipe} cards of {size} images; on {cards} card the gradients of "
        f"{recipe} micro-batches of {size} are averaged to the same total of {total}",
        f"as there, OHEM (at least {settings.min_kept:,} pixels) and the BatchNorms of the "
        f"backbone see {size} images at a time",
        f"otherwise than there, the BatchNorms of the heads see {size} images too: the authors "
        f"synchronise those over all {total}",
        f"otherwise than there, running statistics move with every micro-batch, {recipe} times an "
        "iteration; the authors' backbone keeps those of its first card",
    ]
