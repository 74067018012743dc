"""Seeds of Paddle's global generator."""

from collections.abc import Iterator
from contextlib import contextmanager

import paddle

seed = paddle.seed


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Put the state of Paddle's generator back at the end."""
    state = paddle.get_rng_state()
    try:
        yield
    finally:
        paddle.set_rng_state(state)
