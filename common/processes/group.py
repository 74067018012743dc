"""What the processes of a training do together: all of it is made of sums over the processes."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from common.errors import UserError


class ProcessLostError(UserError):
    """Another process of this training ended, or did not answer in time."""


class EndedElsewhereError(UserError):
    """Another process ended the run, and says itself why."""


class ProcessGroup:
    """One process alone; a group of several is a framework's subclass.

    Attributes:
        rank: number of this process, from 0: the first one writes logs and checkpoints.
        size: how many there are.
        backend: what carries their sums: "gloo", "nccl", "" of one alone.
    """

    rank, size, backend = 0, 1, ""

    @property
    def is_first(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there is another one."""
        return self.size > 1

    def add(self, array: np.ndarray) -> np.ndarray:
        """Return the sum of `array` over the processes; all give the same shape and dtype.

        Raises ProcessLostError where one is gone.
        """
        return array

    def meet(self) -> None:
        """Wait until every process is here, however long another one works."""

    def leave(self) -> None:
        """Wait for all, then end the group: a launcher kills the rest when one ends early."""

    def add_gradients(self, parameters: Iterable[Any]) -> None:
        """Put the sum over the processes in place of every gradient.

        A parameter without a gradient on every process stays without one.
        """

    def share_buffers(self, *modules: Any) -> None:
        """Give all processes the buffers of the first one, as torch's DDP does before a step."""

    def synchronise(self, net: Any, pattern: str | None) -> None:
        """Let the BatchNorms of `net` whose path the expression `pattern` finds see all images.

        Raises ConfigError where it finds none.
        """

    def means(self, sums: Mapping[str, float], count: int) -> dict[str, float]:
        """Return numbers summed over the processes, divided by `count`."""
        total = self.add(np.array(list(sums.values()), np.float64))
        return {name: float(value) / count for name, value in zip(sums, total, strict=True)}

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes by their number; they are of what JSON has."""
        texts = self.gather_bytes(json.dumps(value).encode())
        return [json.loads(text) for text in texts]

    def gather_bytes(self, own: bytes) -> list[bytes]:
        """Return the bytes of all processes by their number."""
        if not self.several:
            return [own]
        lengths = np.zeros(self.size, np.int64)
        lengths[self.rank] = len(own)
        lengths = self.add(lengths)
        cells = np.zeros((self.size, max(int(lengths.max()), 1)), np.uint8)
        cells[self.rank, : len(own)] = np.frombuffer(own, np.uint8)
        cells = self.add(cells)
        return [row[:length].tobytes() for row, length in zip(cells, lengths, strict=True)]

    def gather_array(self, own: np.ndarray) -> list[np.ndarray]:
        """Return the arrays of all processes by their number, whatever their shapes."""
        about = self.gather((own.dtype.name, own.shape))
        contents = self.gather_bytes(own.tobytes())
        return [
            np.frombuffer(content, dtype).reshape(shape)
            for (dtype, shape), content in zip(about, contents, strict=True)
        ]

    def on_first(self, work: Callable[[], Any]) -> Any:
        """Do `work` on the first process alone, and return on all what it returns, as JSON has it.

        What it raises is raised there; EndedElsewhereError on the others.
        """
        if not self.several:
            return work()
        result, error = None, None
        if self.is_first:
            try:
                result = work()
            except Exception as raised:
                error = raised
        self.meet()
        failed, result = self.gather([error is not None, result])[0]
        if error is not None:
            raise error
        if failed:
            raise ended_elsewhere(0, self.size)
        return result

    def of_first(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the arrays of the first process by name; those of the others are not looked at."""
        named = {name: (a.dtype.name, a.shape) for name, a in arrays.items()}
        given = self.gather(named if self.is_first else {})[0]
        found = {}
        for name, (dtype, shape) in given.items():
            whole = np.zeros(shape, dtype)
            if self.is_first:
                whole[...] = arrays[name]
            if whole.size:
                content = self.add(whole.reshape(-1).view(np.uint8))
                whole = content.view(dtype).reshape(shape)
            found[name] = whole
        return found


ALONE = ProcessGroup()


def ended_elsewhere(rank: int, size: int, code: int = 2) -> EndedElsewhereError:
    """Return the error of a process that ends because process `rank` did."""
    error = EndedElsewhereError(
        f"process {rank} of {size} ended the run; what it said is the reason"
    )
    error.exit_code = code
    return error


def process_lost(rank: int, size: int, what: str) -> ProcessLostError:
    """Return the error of process `rank` where another one is gone; `what`: the framework says."""
    return ProcessLostError(
        f"process {rank} of {size}: another process of this training ended or did not answer "
        f"({what}). Its own output says why, or the launcher, which names its exit code (-9: "
        "killed, often for want of memory). Checkpoints are whole: the same command with --resume "
        "auto goes on from the newest"
    )
