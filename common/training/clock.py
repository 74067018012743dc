"""How fast a run is, and when it will be done."""


class Clock:
    """Times of the steps of this process; `restart` begins a new interval of the log."""

    def __init__(self) -> None:
        self._all = [0.0, 0]
        self.restart()

    def restart(self) -> None:
        """Begin a new interval."""
        self._steps, self._data_s, self._step_s = 0, 0.0, 0.0

    def add(self, data_s: float, step_s: float) -> None:
        """Count a step that took `step_s` in all, `data_s` of it waiting for its batches."""
        self._steps += 1
        self._data_s += data_s
        self._step_s += step_s
        self._all[0] += step_s
        self._all[1] += 1

    def speed(self, images: int) -> dict[str, float]:
        """Means of the interval, for steps of so many images."""
        return {
            "images_per_s": round(images * self._steps / max(self._step_s, 1e-9), 3),
            "step_s": round(self._step_s / self._steps, 4),
            "data_s": round(self._data_s / self._steps, 4),
        }

    def left(self, steps: int) -> float:
        """Seconds that so many further steps will take."""
        return self._all[0] / max(self._all[1], 1) * steps
