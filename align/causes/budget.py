"""How far the search for causes goes: so many replays a layer, and a clock behind them."""

import time

from align.judge.words import Words
from align.nets import progress

REPLAYS = 256  # of one layer
SECONDS = 60.0  # of all layers: only a backstop, for replays that are slow


class Budget:
    """Replays that are left; `begin` a layer, then ask `spend` before each.

    `notes` say what was given up.
    """

    def __init__(self) -> None:
        self.notes: list[Words] = []
        self._ends = time.monotonic() + SECONDS
        self._path, self._left = "", 0

    def begin(self, path: str) -> None:
        """Begin to search for a cause of one layer."""
        self._path, self._left = path or "(root)", REPLAYS

    def spend(self) -> bool:
        """Tell whether the layer may be replayed once more."""
        progress.say(f"{self._path}, while a cause was sought")
        progress.advance(replays=1)
        if self._left <= 0:
            self._give_up(Words("search_ended", path=self._path, count=REPLAYS))
            return False
        if time.monotonic() > self._ends:
            self._give_up(Words("search_ended_by_clock", path=self._path, seconds=SECONDS))
            return False
        self._left -= 1
        return True

    def too_long(self, count: int) -> None:
        """Note that the code of the layer was not followed to its end."""
        self._give_up(Words("code_too_long", path=self._path, count=count))

    def _give_up(self, note: Words) -> None:
        if note not in self.notes:
            self.notes.append(note)
