"""How the reference calls the stock attention layers of torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from common.documents import STRICT


@dataclass(frozen=True)
class Mask:
    """One mask of a layer: its argument in the port, and both in the reference.

    `rows` and `columns` are the streams whose lengths it has.
    """

    port: str
    reference: str
    padding: str
    rows: int
    columns: int


@dataclass(frozen=True)
class AttentionSignature:
    """The streams [batch, length, channels] of a layer by name, and its masks."""

    streams: tuple[str, ...]
    masks: tuple[Mask, ...]


_DECODER = AttentionSignature(
    ("tgt", "memory"),
    (
        Mask("tgt_mask", "tgt_mask", "tgt_key_padding_mask", 0, 0),
        Mask("memory_mask", "memory_mask", "memory_key_padding_mask", 0, 1),
    ),
)


# By the names of torch's classes.
SIGNATURES: Mapping[str, AttentionSignature] = {
    "MultiheadAttention": AttentionSignature(
        ("query", "key", "value"),
        (Mask("attn_mask", "attn_mask", "key_padding_mask", 0, 1),),
    ),
    "TransformerEncoderLayer": AttentionSignature(
        ("src",), (Mask("src_mask", "src_mask", "src_key_padding_mask", 0, 0),)
    ),
    "TransformerEncoder": AttentionSignature(
        ("src",), (Mask("src_mask", "mask", "src_key_padding_mask", 0, 0),)
    ),
    "TransformerDecoderLayer": _DECODER,
    "TransformerDecoder": _DECODER,
}


@dataclass(frozen=True)
class Attention:
    """What a recorded call of a stock layer of torch was given: `names` of its tensors."""

    __pydantic_config__: ClassVar = STRICT

    kind: str
    names: list[str]
    heads: int
    batch_first: bool
