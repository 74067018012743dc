"""Reading, the net and writing beside each other, and errors of one item."""

import threading

import pytest

from commands.predict.pipeline import AHEAD, Pipeline
from common.errors import DataError, UserError


def test_items_come_out_in_order_and_an_error_ends_its_item_alone():
    written = []

    def read(item):
        if item == 3:
            raise DataError("3 is damaged")
        return item * 10

    def ask(item, value):
        if item == 5:
            raise UserError("5 is too small")
        return value + 1

    pipeline = Pipeline(read, ask, lambda item, value, made: written.append((item, value, made)))
    found = list(pipeline.run(range(8)))
    assert [item for item, _ in found] == list(range(8))
    assert {item: str(error) for item, error in found if error} == {
        3: "3 is damaged",
        5: "5 is too small",
    }
    assert written == [(i, i * 10, i * 10 + 1) for i in range(8) if i not in (3, 5)]
    assert pipeline.times.whole > 0


def test_an_error_of_the_program_ends_all():
    def write(item, value, made):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(Pipeline(lambda item: item, lambda item, value: value, write).run(range(5)))


def test_the_next_photos_are_read_and_the_last_written_while_the_net_runs():
    reading, asked, wrote = threading.Event(), threading.Event(), threading.Event()

    def read(item):
        if item == 1:
            reading.set()
        return item

    def ask(item, value):
        if item == 0:
            assert reading.wait(10)  # before the net has answered for the first
        if item == 1:
            asked.set()
            assert wrote.wait(10)  # the first is written before the net has answered for the second
        return value

    def write(item, value, made):
        if item == 0:
            assert asked.wait(10)
            wrote.set()

    assert len(list(Pipeline(read, ask, write).run(range(3)))) == 3


def test_few_photos_are_in_memory():
    alive, most = set(), 0

    def read(item):
        nonlocal most
        alive.add(item)
        most = max(most, len(alive))
        return item

    pipeline = Pipeline(read, lambda item, value: value, lambda item, *made: alive.discard(item))
    assert len(list(pipeline.run(range(50)))) == 50
    assert most <= 2 * AHEAD + 2


def test_frames_of_a_video_are_read_in_the_thread_that_reads():
    """Decoding is done by the iteration; an error of it ends all."""
    where, written = set(), []

    def frames():
        for number in range(6):
            where.add(threading.current_thread().name)
            yield number
        raise DataError("the file is truncated")

    pipeline = Pipeline(
        lambda frame: frame, lambda frame, read: read, lambda *made: written.append(made[0])
    )
    with pytest.raises(DataError, match="truncated"):
        list(pipeline.run(frames()))
    assert written == list(range(len(written)))
    assert threading.current_thread().name not in where
    assert pipeline.times.parts["read"] > 0
