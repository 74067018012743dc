"""Random signs, and tensors that move by units in their last place."""

from collections.abc import Iterator

import numpy as np
import torch

POOL = 1_048_573  # a prime: no two rows or channels of a tensor move alike
FEW_OF_CHANNEL = 8  # values: so few random signs may all be the same
FEW = 1 << 12  # values that are not worth a pool


class Noise:
    """What a disturbed run draws: `units` is how many units in the last place tensors move."""

    def __init__(self, units: float, seed: int = 0) -> None:
        self.units = units
        self.generator = torch.Generator().manual_seed(seed)
        self.pools: dict[tuple, torch.Tensor] = {}

    def signs(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return random +1 and -1 in the shape of `tensor`."""
        if tensor.numel() <= FEW:
            return self._draws(tensor.numel(), tensor.dtype, 0.0, 1.0).reshape(tensor.shape)
        out = torch.empty(tensor.shape, dtype=tensor.dtype)
        for part, drawn in self._drawn(out.numel(), self._pool(tensor.dtype, 0.0, 1.0)):
            out.view(-1)[part] = drawn
        return out

    def jitter(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return `tensor` with every element moved by `units` in the last place."""
        if tensor.is_complex() and self.units:
            both = torch.view_as_real(tensor.detach().resolve_conj())
            return torch.view_as_complex(self.jitter(both))
        if not tensor.is_floating_point() or not self.units:
            return tensor
        step = torch.finfo(tensor.dtype).eps * self.units
        tensor = tensor.detach().contiguous()
        if tensor.dim() > 1 and 1 < tensor.numel() // max(tensor.shape[1], 1) <= FEW_OF_CHANNEL:
            return tensor * (1.0 + 2 * step * self._opposed(tensor))
        out = torch.empty_like(tensor)
        flat, pool = tensor.view(-1), self._pool(tensor.dtype, 1.0, step)
        for part, drawn in self._drawn(len(flat), pool):
            torch.mul(flat[part], drawn, out=out.view(-1)[part])
        return out

    def _opposed(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return signs like `tensor` [N, C, ...] that alternate within each channel.

        Batch statistics of two values stay as they are where both move alike, as every second
        draw of independent signs has it; what a normalisation subtracts would not be seen to move.
        They move by two units, as those of several such tensors may still cancel.
        """
        first, channels = tensor.shape[:2]
        inner = tensor[0, 0].numel()
        signs = self._draws(channels, tensor.dtype, 0.0, 1.0)
        turns = 1 - 2 * (torch.arange(first * inner) % 2).to(tensor.dtype)
        return (turns.view(first, 1, inner) * signs.view(1, channels, 1)).view(tensor.shape)

    def _pool(self, dtype: torch.dtype, centre: float, step: float) -> torch.Tensor:
        """Return `POOL` draws of `centre` + or - `step`."""
        key = (dtype, centre, step)
        if key not in self.pools:
            self.pools[key] = self._draws(POOL, dtype, centre, step)
        return self.pools[key]

    def _draws(self, count: int, dtype: torch.dtype, centre: float, step: float) -> torch.Tensor:
        words = torch.randint(
            0, 256, (-(-count // 8),), generator=self.generator, dtype=torch.uint8
        )
        bits = torch.from_numpy(np.unpackbits(words.numpy(), count=count))
        return bits.to(dtype).mul_(2 * step).add_(centre - step)

    def _drawn(self, size: int, pool: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield pieces of `size` values with as many draws each, from any place of the pool on."""
        at = int(torch.randint(0, POOL, (), generator=self.generator))
        start = 0
        while start < size:
            count = min(size - start, POOL - at)
            yield slice(start, start + count), pool[at : at + count]
            start, at = start + count, 0
