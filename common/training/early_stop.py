"""When a run ends early, because its validations get no better."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from common.documents import STRICT
from common.errors import UserError
from common.settings.train import EarlyStop


@dataclass
class EarlyState:
    """What is known of a run's validations; it belongs into a checkpoint.

    Attributes:
        best: highest score so far; None before the first.
        bad: validations since that were no better.
    """

    __pydantic_config__: ClassVar = STRICT

    best: float | None = None
    bad: int = 0

    def see(self, scores: Mapping[str, Any], options: EarlyStop) -> None:
        """Take note of a validation; a score that is NaN is no better.

        Raises UserError where the scores have none of that name, or one that is no number.
        """
        score = scores.get(options.metric)
        if not isinstance(score, float):
            numbers = ", ".join(name for name, value in scores.items() if isinstance(value, float))
            raise UserError(
                f"train.early_stop.metric is {options.metric}, which is {score!r:.60} in the "
                f"scores of this validation; it has to be a number: {numbers} are"
            )
        if score == score and (self.best is None or score > self.best + options.min_delta):
            self.best, self.bad = score, 0
        else:
            self.bad += 1

    def over(self, options: EarlyStop | None) -> bool:
        """Tell whether the run ends here."""
        return options is not None and self.bad > options.patience
