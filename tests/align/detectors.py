"""Two-stage detectors of a stranger, tiny: lists of images in, lists of boxes out, losses in train.

The reference is plain torch, the port plain Paddle with one fault by name, or none. Images are
padded to one size; boxes are x0, y0, x1, y1 in pixels; label 0 is background.
"""

import numpy as np
import paddle
import torch

from align.pairing.fill import load_state
from convert import convert_state

CLASSES, SIZE, STRIDES, TOP, KEPT = 3, 32, (4, 8), 8, 16
OVERLAP, LEAST, MATCHED = 0.5, 0.2, 0.4


def grid_of(height, width, stride):
    """Return the anchors of one level [H * W, 4]."""
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    centre = np.stack([x, y, x, y], -1).reshape(-1, 4) * float(stride)
    return centre + np.array([-1.5, -1.0, 1.5, 1.0]) * stride


def torch_iou(a, b):
    low, high = torch.maximum(a[:, None, :2], b[:, :2]), torch.minimum(a[:, None, 2:], b[:, 2:])
    inner = (high - low).clamp(min=0).prod(-1)
    areas = [(each[:, 2:] - each[:, :2]).prod(-1) for each in (a, b)]
    return inner / (areas[0][:, None] + areas[1] - inner)


def torch_nms(boxes, scores, most):
    order, keep = scores.argsort(descending=True), []
    while len(order):
        keep.append(order[0])
        overlap = torch_iou(boxes[order[:1]], boxes[order[1:]])[0]
        order = order[1:][~(overlap > most)]
    return torch.stack(keep) if keep else order


class TorchProposals(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Conv2d(8, 5, 1)

    def decode(self, deltas, anchors):
        size = anchors[:, 2:] - anchors[:, :2]
        centre = (anchors[:, 2:] + anchors[:, :2]) / 2 + deltas[:, :2] * size
        half = size * torch.exp(deltas[:, 2:].clamp(max=2.0)) / 2
        return torch.cat([centre - half, centre + half], 1)

    def forward(self, features, sizes):
        found = []
        maps = [self.head(feature) for feature in features]
        for image, (height, width) in enumerate(sizes):
            boxes, scores, levels = [], [], []
            for level, out in enumerate(maps):
                anchors = torch.from_numpy(grid_of(*out.shape[2:], STRIDES[level])).to(out.dtype)
                flat = out[image].flatten(1).t()
                best, index = flat[:, 0].detach().topk(min(TOP, len(flat)))
                boxes.append(self.decode(flat[index, 1:].detach(), anchors[index]))
                scores.append(best.sigmoid())
                levels.append(torch.full((len(index),), float(level), dtype=out.dtype))
            boxes, scores, levels = torch.cat(boxes), torch.cat(scores), torch.cat(levels)
            edge = torch.tensor([width, height, width, height], dtype=boxes.dtype)
            boxes = torch.minimum(boxes.clamp(min=0), edge)
            keep = torch_nms(boxes + levels[:, None] * 2 * SIZE, scores, OVERLAP)[:KEPT]
            found.append(boxes[keep])
        return found


class TorchHeads(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.box = torch.nn.Linear(12, (CLASSES + 1) * 5)

    def forward(self, features, proposals, sizes, targets=None):
        logits, deltas = [], []
        for image, boxes in enumerate(proposals):
            pooled = features[0][image].mean((1, 2)).expand(len(boxes), 8)
            out = self.box(torch.cat([pooled, boxes / SIZE], 1)).reshape(-1, CLASSES + 1, 5)
            logits.append(out[..., 0])
            deltas.append(out[..., 1:])
        if targets is not None:
            return self.losses(logits, deltas, proposals, targets)
        every = zip(logits, deltas, proposals, sizes, strict=True)
        return [self.detect(*each) for each in every]

    def losses(self, logits, deltas, proposals, targets):
        classes, moves, count = 0.0, 0.0, 0
        for own, delta, boxes, target in zip(logits, deltas, proposals, targets, strict=True):
            best, which = torch_iou(boxes, target["boxes"]).max(1)
            label = torch.where(best >= MATCHED, target["labels"][which], 0)
            classes = classes + torch.nn.functional.cross_entropy(own, label, reduction="sum")
            chosen = delta[torch.arange(len(boxes)), label]
            wanted = (target["boxes"][which] - boxes) / SIZE
            moves = moves + ((chosen - wanted).abs().sum(1) * (label > 0)).sum()
            count += len(boxes)
        return {"classes": classes / count, "boxes": moves / count}

    def detect(self, logits, deltas, boxes, size):
        scores = logits.softmax(-1)[:, 1:].flatten()
        labels = torch.arange(1, CLASSES + 1).expand(len(boxes), CLASSES).flatten()
        moved = (boxes[:, None] + deltas[:, 1:].tanh() * 4).reshape(-1, 4)
        keep = torch.nonzero(scores > LEAST).flatten()
        moved, scores, labels = moved[keep], scores[keep], labels[keep]
        edge = torch.tensor([size[1], size[0]] * 2, dtype=moved.dtype)
        moved = torch.minimum(moved.clamp(min=0), edge)
        offset = labels[:, None].to(moved.dtype) * 2 * SIZE
        keep = torch_nms(moved + offset, scores, OVERLAP)[:KEPT]
        return {"boxes": moved[keep], "labels": labels[keep], "scores": scores[keep]}


class TorchDetector(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 4, 4)
        self.second = torch.nn.Conv2d(8, 8, 2, 2)
        self.rpn = TorchProposals()
        self.roi_heads = TorchHeads()

    def forward(self, images, targets=None):
        sizes = [tuple(image.shape[1:]) for image in images]
        batch = torch.zeros(len(images), 3, SIZE, SIZE, dtype=images[0].dtype)
        for image, (height, width) in enumerate(sizes):
            batch[image, :, :height, :width] = images[image]
        first = self.first(batch)
        features = [first, self.second(first.relu())]
        proposals = self.rpn(features, sizes)
        return self.roi_heads(features, proposals, sizes, targets if self.training else None)


def paddle_iou(a, b):
    a = a.unsqueeze(1)
    low, high = paddle.maximum(a[..., :2], b[:, :2]), paddle.minimum(a[..., 2:], b[:, 2:])
    inner = (high - low).clip(min=0).prod(-1)
    areas = [(each[..., 2:] - each[..., :2]).prod(-1) for each in (a, b)]
    return inner / (areas[0] + areas[1] - inner)


def last_first(scores):
    """Return the order of scores, the best first, by code that nobody sees: ties the other way."""
    backwards = -scores.detach().numpy()[::-1]
    return paddle.to_tensor(len(backwards) - 1 - np.argsort(backwards, kind="stable"))


def paddle_nms(boxes, scores, most, fault=""):
    order = last_first(scores) if fault == "unseen" else scores.argsort(descending=True)
    equal, keep = fault == "equal", []
    while order.shape[0]:
        keep.append(order[:1])
        if order.shape[0] == 1:
            break
        overlap = paddle_iou(boxes[order[:1]], boxes[order[1:]])[0]
        goes = overlap >= most if equal else overlap > most
        order = order[1:][~goes]
    return paddle.concat(keep) if keep else order


class PaddleProposals(paddle.nn.Layer):
    def __init__(self, fault):
        super().__init__()
        self.head = paddle.nn.Conv2D(8, 5, 1)
        self.fault = fault

    def decode(self, deltas, anchors):
        size = anchors[:, 2:] - anchors[:, :2]
        weight = 0.5 if self.fault == "box weight" else 1.0
        centre = (anchors[:, 2:] + anchors[:, :2]) / 2 + deltas[:, :2] * size * weight
        half = size * paddle.exp(deltas[:, 2:].clip(max=2.0)) / 2
        return paddle.concat([centre - half, centre + half], 1)

    def forward(self, features, sizes):
        found = []
        maps = [self.head(feature) for feature in features]
        for image, (height, width) in enumerate(sizes):
            boxes, scores, levels = [], [], []
            for level, out in enumerate(maps):
                anchors = paddle.to_tensor(grid_of(*out.shape[2:], STRIDES[level])).astype(
                    out.dtype
                )
                flat = out[image].flatten(1).t()
                many = TOP - 1 if self.fault == "one less" else TOP
                best, index = flat[:, 0].detach().topk(min(many, flat.shape[0]))
                boxes.append(self.decode(flat[index][:, 1:].detach(), anchors[index]))
                scores.append(paddle.nn.functional.sigmoid(best))
                if self.fault == "nudged":  # in the last place, which every right port may be off
                    odd = paddle.arange(index.shape[0]).astype(out.dtype) % 2
                    scores[-1] = scores[-1] * (1 + odd * 2.3e-16)
                levels.append(paddle.full([index.shape[0]], float(level), out.dtype))
            boxes, scores, levels = map(paddle.concat, (boxes, scores, levels))
            if self.fault == "swapped":
                boxes = boxes[:, [1, 0, 3, 2]]
            if self.fault == "padded":
                height = width = SIZE
            edge = paddle.to_tensor(np.array([width, height] * 2, float)).astype(boxes.dtype)
            boxes = paddle.minimum(boxes.clip(min=0), edge)
            apart = 0.0 if self.fault == "all levels" else 2.0 * SIZE
            most = 0.8 if self.fault == "overlap" else OVERLAP
            moved = boxes + levels.unsqueeze(1) * apart
            keep = paddle_nms(moved, scores, most, self.fault)[:KEPT]
            found.append(boxes[keep])
        return found


class PaddleHeads(paddle.nn.Layer):
    def __init__(self, fault):
        super().__init__()
        self.box = paddle.nn.Linear(12, (CLASSES + 1) * 5)
        self.fault = fault

    def forward(self, features, proposals, sizes, targets=None):
        logits, deltas = [], []
        for image, boxes in enumerate(proposals):
            pooled = features[0][image].mean((1, 2)).expand([boxes.shape[0], 8])
            out = self.box(paddle.concat([pooled, boxes / SIZE], 1)).reshape([-1, CLASSES + 1, 5])
            logits.append(out[..., 0])
            deltas.append(out[..., 1:])
        if targets is not None:
            return self.losses(logits, deltas, proposals, targets)
        every = zip(logits, deltas, proposals, sizes, strict=True)
        return [self.detect(*each) for each in every]

    def losses(self, logits, deltas, proposals, targets):
        classes, moves, count = 0.0, 0.0, 0
        for own, delta, boxes, target in zip(logits, deltas, proposals, targets, strict=True):
            overlap = paddle_iou(boxes, target["boxes"])
            best, which = overlap.max(1), overlap.argmax(1)
            least = 0.3 if self.fault == "matched" else MATCHED
            chosen = best > least if self.fault == "match equal" else best >= least
            label = paddle.where(chosen, target["labels"][which], paddle.zeros_like(which))
            classes = classes + paddle.nn.functional.cross_entropy(own, label, reduction="sum")
            chosen = delta[paddle.arange(boxes.shape[0]), label]
            wanted = (target["boxes"][which] - boxes) / SIZE
            moves = moves + ((chosen - wanted).abs().sum(1) * (label > 0).astype(own.dtype)).sum()
            count += boxes.shape[0]
        return {"classes": classes / count, "boxes": moves / count}

    def detect(self, logits, deltas, boxes, size):
        scores = paddle.nn.functional.softmax(logits, -1)[:, 1:].flatten()
        first = 0 if self.fault == "label" else 1
        labels = paddle.arange(first, CLASSES + first).expand([boxes.shape[0], CLASSES]).flatten()
        moved = (boxes.unsqueeze(1) + deltas[:, 1:].tanh() * 4).reshape([-1, 4])
        least = 0.4 if self.fault == "score" else LEAST
        keep = paddle.nonzero(scores > least).flatten()
        moved, scores, labels = moved[keep], scores[keep], labels[keep]
        edge = paddle.to_tensor(np.array([size[1], size[0]] * 2, float)).astype(moved.dtype)
        moved = paddle.minimum(moved.clip(min=0), edge)
        offset = labels.unsqueeze(1).astype(moved.dtype) * 2 * SIZE
        keep = paddle_nms(moved + offset, scores, OVERLAP)[:KEPT]
        return {"boxes": moved[keep], "labels": labels[keep], "scores": scores[keep]}


class PaddleDetector(paddle.nn.Layer):
    def __init__(self, fault=""):
        super().__init__()
        self.first = paddle.nn.Conv2D(3, 8, 4, 4)
        self.second = paddle.nn.Conv2D(8, 8, 2, 2)
        self.rpn = PaddleProposals(fault)
        self.roi_heads = PaddleHeads(fault)

    def forward(self, images, targets=None):
        sizes = [tuple(image.shape[1:]) for image in images]
        padded = [
            paddle.nn.functional.pad(image, [0, SIZE - width, 0, SIZE - height], data_format="NCHW")
            for image, (height, width) in zip(
                [each.unsqueeze(0) for each in images], sizes, strict=True
            )
        ]
        first = self.first(paddle.concat(padded))
        features = [first, self.second(paddle.nn.functional.relu(first))]
        proposals = self.rpn(features, sizes)
        return self.roi_heads(features, proposals, sizes, targets if self.training else None)


def detectors(fault="", sharp=6.0):
    """Return a reference with seeded weights and a port with the same; `sharp` heads differ."""
    torch.manual_seed(3)
    reference, port = TorchDetector(), PaddleDetector(fault)
    with torch.no_grad():
        for layer in (reference.rpn.head, reference.roi_heads.box):
            layer.weight.mul_(sharp)
    arrays = {name: value.numpy() for name, value in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    return reference, port


def images(seed=0, sizes=((32, 24), (20, 32))):
    """Return images of several sizes, [3, H, W] each."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((3, *size)) for size in sizes]


def targets(seed=0, count=2, images=2):
    """Return one dict of boxes and labels for each image."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(images):
        corner, size = rng.random((count, 2)) * 12, 6 + rng.random((count, 2)) * 8
        boxes = np.concatenate([corner, corner + size], 1)
        found.append({"boxes": boxes, "labels": rng.integers(1, CLASSES + 1, count)})
    return found
