"""Lovasz-softmax: the Jaccard index of every class, made differentiable by sorting the errors."""

import paddle
from paddle import Tensor

from common.errors import ConfigError
from paddle_impl.losses.heads import ClassMap, HeadsLoss
from paddle_impl.losses.pixels import IGNORE_INDEX, one_hot

# Errors that are equal in the first so many binary places are tied. More are not reproducible: two
# softmaxes of one pixel differ in the last place or two.
PLACES = 40


class LovaszSoftmax(HeadsLoss):
    """Mean over the classes of the Lovasz extension of 1 - IoU.

    Args:
        classes: "present", those that the label holds, or "all".
        per_image: a loss of each image, then the mean; else of all pixels of the batch.
        aux_weight, ignore_index, maps: see `HeadsLoss`.

    Where errors tie, every order of them is a subgradient of the same value, and the authors take
    that which the sort happens to give; here the earlier pixel comes first.
    Source: Berman et al., arXiv 1705.08790; bermanmaxim/LovaszSoftmax, pytorch/lovasz_losses.py.
    Raises ConfigError for an unknown choice of classes.
    """

    def __init__(
        self,
        classes: str = "present",
        per_image: bool = False,
        aux_weight: float = 0.4,
        ignore_index: int = IGNORE_INDEX,
        maps: int | None = None,
    ) -> None:
        super().__init__(aux_weight, ignore_index, maps)
        if classes not in ("all", "present"):
            raise ConfigError(f"classes is {classes!r}; choose all or present")
        self.classes = classes
        self.per_image = per_image

    def terms(self, one: ClassMap) -> dict[str, Tensor]:
        """Return `lovasz` of a map; 0 with zero gradients if all pixels are ignored."""
        logs, label, first = one
        counted = label != self.ignore_index
        probability = paddle.exp(logs)
        truth = one_hot(label, logs.shape[1], self.ignore_index)
        if not self.per_image:
            parts = [(probability.transpose([1, 0, 2, 3]), truth.transpose([1, 0, 2, 3]), counted)]
        else:
            parts = list(zip(probability, truth, counted, strict=True))
        losses = [self.of_classes(p[first:], t[first:], c) for p, t, c in parts]
        return {"lovasz": sum(losses[1:], start=losses[0]) / len(losses)}

    def of_classes(self, probability: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
        """Return the mean over the classes of `probability` and `truth`, [C, ...], a scalar.

        counted: [...], the pixels of both that count.
        """
        losses = []
        for of_class, is_class in zip(probability, truth, strict=True):
            if self.classes == "present" and not bool(is_class.any()):
                continue
            error = paddle.where(is_class, 1.0 - of_class, of_class)
            error = paddle.where(counted, error, paddle.zeros_like(error))
            losses.append(lovasz(error.flatten(), is_class.flatten(), counted.flatten()))
        if not losses:
            return (
                paddle.where(counted, probability[0], paddle.zeros_like(probability[0])).sum() * 0
            )
        return sum(losses[1:], start=losses[0]) / len(losses)


def lovasz(error: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """Return the Lovasz extension of 1 - IoU of one class, a scalar.

    error: [P] floating in 0..1, 0 where a pixel does not count. truth, counted: [P] bool.
    """
    order = descending(error, counted)
    share = jaccard_steps(paddle.index_select(truth.astype("int64"), order, axis=0)).astype(
        error.dtype
    )
    return (paddle.index_select(error, order, axis=0) * share).sum()


def descending(error: Tensor, counted: Tensor) -> Tensor:
    """Return the places of `error` [P] from the largest to the smallest, int64 [P].

    What does not count comes last. Of ties the earlier comes first, whatever the sort does with
    equal keys: no two keys are equal.
    """
    count = error.shape[0]
    scale = 2.0 ** min(PLACES, 62 - count.bit_length())
    rank = paddle.floor(error.detach() * scale + 0.5).astype("int64")
    rank = paddle.where(counted, rank, paddle.full_like(rank, -1))
    place = paddle.arange(count)
    return paddle.argsort(rank * count + (count - 1 - place), descending=True)


def jaccard_steps(truth: Tensor) -> Tensor:
    """Return by how much each pixel, taken from the first on, raises 1 - IoU: float64 [P].

    truth: [P] int64, 0 and 1, in the order of the errors. The authors subtract neighbouring values
    of 1 - IoU; this is the same, from the counts, without what the subtraction loses.
    """
    outside = 1 - truth
    overlap = (truth.sum() - paddle.cumsum(truth, 0)).astype("float64")
    union = (truth.sum() + paddle.cumsum(outside, 0)).astype("float64")
    before = union - outside.astype("float64")
    wrong = overlap / (union * before.clip(min=1))
    first = (before == 0).astype("float64")  # of a class that is absent: the first is all of it
    wrong = paddle.where(before == 0, first, wrong)
    return paddle.where(truth == 1, 1.0 / union, wrong)
