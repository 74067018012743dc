"""A side of NumPy for the loop: a net of four numbers, and who listens to its run."""

import os
import signal
import zlib

import numpy as np

from common.processes.group import ALONE
from common.training import Reporter
from tests.paths import ROOT

CONFIG = ROOT / "configs" / "stdc1_toy.yml"
BASE = [
    "data.crop_hw=[32,64]",
    "data.batch_size=2",
    "data.workers=0",
    "train.iterations=7",
    "train.log_interval=3",
    "train.eval_interval=3",
    "train.checkpoint_interval=2",
    "train.keep=3",
    "schedule.warmup_steps=3",
]


class NumpySide:
    framework, version, device, weights_suffix = "numpy", "0", "cpu", ".npy"
    group = ALONE

    def __init__(self, stop_in_step=None, nan_in_step=None, stop_in_validation=False):
        self.weights, self.velocity = np.zeros(4), np.zeros(4)
        self.rates, self.batches = [], []
        self.stop_in_step, self.nan_in_step = stop_in_step, nan_in_step
        self.stop_in_validation = stop_in_validation

    def step(self, batches, lr):
        self.rates.append(lr)
        self.batches.append([zlib.crc32(batch.image.tobytes()) for batch in batches])
        if len(self.rates) - 1 == self.stop_in_step:
            os.kill(os.getpid(), signal.SIGTERM)
        means = np.mean([batch.image.mean((0, 2, 3)) for batch in batches], axis=0)
        noise = np.random.Generator(np.random.PCG64(self.own_seed)).random()
        self.velocity = 0.9 * self.velocity + np.append(means, noise)
        self.weights = self.weights - lr * self.velocity
        bad = len(self.rates) - 1 == self.nan_in_step
        return {"part": 1.0, "loss": float("nan") if bad else float(self.weights.sum())}

    def predict(self, image, options):
        if self.stop_in_validation:
            os.kill(os.getpid(), signal.SIGTERM)
        return (np.abs(image[:, 0] * self.weights[0] * 1e3) % 19).astype(np.int64)

    def seed(self, seed):
        self.own_seed = seed

    def parameter_count(self):
        return 4

    def state(self):
        return {"weights": self.weights.copy(), "velocity": self.velocity.copy()}

    def load_state(self, state):
        self.weights, self.velocity = state["weights"].copy(), state["velocity"].copy()

    def save_weights(self, path):
        with path.open("wb") as file:
            np.save(file, self.weights)


class Listener(Reporter):
    def __init__(self):
        self.messages, self.notes = [], []

    def start(self, settings, notes, total):
        self.notes = notes

    def message(self, text):
        self.messages.append(text)


def log_of(outcome):
    return (outcome.folder / "log.jsonl").read_text()
