"""Two processes, started as the launchers start them, compute what one does with all images."""

import numpy as np
import pytest

from tests import nursery
from tests.nets.training import several

SCRIPT = several.__file__
BUFFERS = ("_mean", "_variance", "running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(scope="module", params=["torch", "paddle"])
def found(request, tmp_path_factory):
    """What two processes find, and what one finds that has all images."""
    pytest.importorskip(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    done = nursery.run_script(SCRIPT, request.param, folder)
    assert done.returncode == 0, done.stderr
    group = nursery.Group(request.param, SCRIPT, request.param, folder, folder=folder)
    assert group.wait() == [0, 0], group.said(0) + group.said(1)
    return [dict(np.load(folder / f"{name}.npz")) for name in ("0_of_2", "1_of_2", "0_of_1")]


def part(arrays, name):
    """Return the arrays of one test by the rest of their names."""
    found = {k.removeprefix(f"{name}/"): v for k, v in arrays.items() if k.startswith(f"{name}/")}
    assert found
    return found


def test_synchronised_norms_see_all_images(found):
    first, second, alone = (part(arrays, "norms") for arrays in found)
    for name, whole in alone.items():
        if name in ("output", "of_input"):
            both = np.concatenate([first[name], second[name]])
        else:  # gradients are summed; running statistics are of all images
            both = first[name]
            np.testing.assert_array_equal(both, second[name], err_msg=name)
        np.testing.assert_allclose(both, whole, rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("loss", ["cross_entropy", "ohem"])
def test_two_processes_equal_two_micro_batches_to_the_bit(found, loss):
    """OHEM picks pixels of a card, so its loss is the mean of two."""
    first, second, alone = (part(arrays, loss) for arrays in found)
    for name, array in alone.items():
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        if not name.endswith(BUFFERS):  # those of the first process, as DDP keeps them
            np.testing.assert_array_equal(first[name], array, err_msg=name)


def test_two_processes_equal_one_with_the_double_batch(found):
    first, _, alone = (part(arrays, "whole") for arrays in found)
    for name, array in alone.items():
        if not name.endswith(BUFFERS):
            np.testing.assert_allclose(first[name], array, rtol=1e-12, atol=1e-14, err_msg=name)


def test_a_layer_without_gradient_on_all_processes_does_not_decay(found):
    """What one process alone has a gradient of moves on all, the criterion's parameters too."""
    first, _, _ = (part(arrays, "cross_entropy") for arrays in found)
    slots = {name for name in first if name.startswith("velocity.")}
    assert not any("unused" in name for name in slots)
    assert any("rarely" in name for name in slots)
    assert any("factor" in name for name in slots)
