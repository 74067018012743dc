"""Toy Cityscapes: rendered street scenes in exactly the layout and naming of the real set."""

from common.data.toy.render import Rendering, render
from common.data.toy.write import MARKER, write_toy_cityscapes

__all__ = ["MARKER", "Rendering", "render", "write_toy_cityscapes"]
