#!/usr/bin/env python
"""Run the step at which a training's loss became NaN again, on both frameworks, and say where."""

import _checkout  # noqa: F401 - the checkout onto the path

from commands.guard import run_guarded
from commands.replay.command import parse, replay_batch


def main() -> int:
    """Replay a saved step."""
    return replay_batch(parse(__doc__ or ""))


if __name__ == "__main__":
    run_guarded(main)
