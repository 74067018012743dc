"""Seeds of torch's global generator."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

seed = torch.manual_seed


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Put the state of torch's generator of the CPU back at the end."""
    with torch.random.fork_rng(devices=[]):
        yield
