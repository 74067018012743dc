"""How a net of a task is asked for its prediction, by the config."""

from collections.abc import Callable

from common.evaluation.protocol import Ask, predict
from common.settings.run import Settings


def ask_semantic(settings: Settings) -> Ask:
    """Return what asks for classes."""
    return predict


ASKS: dict[str, Callable[[Settings], Ask]] = {"semantic": ask_semantic}


def ask_of(settings: Settings) -> Ask:
    """Return how the config's net is asked, by its task."""
    return ASKS[settings.model.task](settings)
