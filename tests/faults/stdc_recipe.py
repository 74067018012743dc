"""Faults of the loss and the optimizer in a port of STDC1-Seg's recipe."""

from typing import Any

from tests.faults.core import (
    Fault,
    Subject,
)
from tests.faults.stdc import stdc


def _loss(**options: Any) -> Any:
    def apply(s: Subject) -> None:
        from paddle_impl.losses import StdcLoss

        s.paddle_loss = StdcLoss(**options)

    return apply


def _weighted(name: str, factor: float) -> Any:
    def apply(s: Subject) -> None:
        loss = s.paddle_loss
        parts = loss.parts
        loss.parts = lambda outputs, label: {
            key: value * factor if key == name else value
            for key, value in parts(outputs, label).items()
        }

    return apply


def _void_target(s: Subject) -> None:
    s.paddle_loss.detail.void_edges = False


def _laplacian(s: Subject) -> None:
    detail = s.paddle_loss.detail
    detail.laplacian.set_value(detail.laplacian.numpy() / 8)


def _wrong_head(s: Subject) -> None:
    loss = s.paddle_loss
    inner = loss.forward
    loss.forward = lambda outputs, label: inner(
        (outputs[0], outputs[2], outputs[1], *outputs[3:]), label
    )


def _no_dice(s: Subject) -> None:
    parts = s.paddle_loss.parts
    s.paddle_loss.parts = lambda outputs, label: {
        k: v for k, v in parts(outputs, label).items() if not k.startswith("dice")
    }


def _optimizer(**options: Any) -> Any:
    def apply(s: Subject) -> None:
        from paddle_impl.optim import stdc_sgd

        s.paddle_optimizer = lambda _: stdc_sgd(
            s.paddle_net, s.paddle_loss, **{"base_lr": 0.01, **options}
        )

    return apply


LOSS = "loss"
FAULTS: tuple[Fault, ...] = (
    stdc(
        "OHEM threshold",
        apply=_loss(ohem={"threshold": 0.5}),
        stages=LOSS,
        layers="ohem",
        cause="threshold|hard_loss",
    ),
    stdc(
        "OHEM min_kept",
        apply=_loss(ohem={"min_kept": 12200}),
        stages=LOSS,
        layers="ohem",
        cause="min_kept",
    ),
    stdc(
        "void counts as a class",
        apply=_loss(ohem={"ignore_index": 254}),
        stages=LOSS,
        layers="ohem",
        cause="ignore_index",
    ),
    stdc(
        "an auxiliary loss weighs 0.4", apply=_weighted("ohem_out16", 0.4), stages=LOSS, layers=""
    ),
    stdc("Dice forgotten", apply=_no_dice, stages=LOSS, layers=""),
    stdc("auxiliary heads exchanged in the loss", apply=_wrong_head, stages=LOSS, layers=""),
    stdc(
        "detail target without void edges",
        apply=_void_target,
        stages=LOSS,
        layers="detail",
        cause="void_edges",
    ),
    stdc(
        "detail target of a weaker Laplacian",
        apply=_laplacian,
        stages=LOSS,
        layers="detail",
        cause=r"0\.125 times",
    ),
    stdc(
        "heads without their tenfold rate",
        apply=_optimizer(head_lr_multiplier=1.0),
        stages="step",
        layers="HEADS",
        cause="rate is",
    ),
    stdc(
        "decay of another size",
        apply=_optimizer(weight_decay=1e-4),
        stages="step",
        layers="DECAYED",
        cause="weight decay 0.0001, the reference has 0.0005",
    ),
    stdc(
        "backbone's norms are trained",
        apply=_optimizer(train_backbone_norm=True),
        stages="step",
        layers="BACKBONE NORMS",
        cause="does not hold it|moves it",
    ),
)
