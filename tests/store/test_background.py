"""Writing in the background keeps all frames in order, raises every error and never hangs."""

import gc
import threading
import time

import numpy as np
import pytest

from treedyn import store

SECONDS = 20.0  # after which a test that hangs fails


class Memory(store.Writer):
    """A writer to memory that fails at a step or waits for an event."""

    def __init__(self, fail_at=None, gate=None):
        self.calls, self.fail_at, self.gate, self.closed = [], fail_at, gate, 0
        self.threads = set()

    def write(self, steps, frames):
        self.threads.add(threading.current_thread().name)
        if self.gate is not None:
            assert self.gate.wait(SECONDS)
        if self.fail_at in steps:
            raise OSError(28, "No space left on device")
        self.calls.append((steps.tolist(), frames))
        self.last = int(steps[-1])

    def rewind(self, step):
        self.calls = [call for call in self.calls if call[0][-1] <= step]
        self.last = self.calls[-1][0][-1] if self.calls else None

    def flush(self):
        self.calls.append("flush")

    def close(self):
        self.closed += 1


def put(writer, step, frames=None):
    writer.write(np.array([step]), {"x": np.zeros(1)} if frames is None else frames)


def within(seconds, job):
    """Run `job` in a thread and return its exceptions; fail if it hangs."""
    raised = []

    def attempt():
        try:
            job()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "hangs"
    return raised


def test_frames_are_written_in_order_before_close_returns():
    memory = Memory()
    with store.background(memory, depth=2) as writer:
        for step in range(200):
            put(writer, step)
    assert [call[0] for call in memory.calls] == [[step] for step in range(200)]
    assert memory.closed == 1
    assert len(memory.threads) == 1 and threading.current_thread().name not in memory.threads


def test_frames_are_copied_before_the_call_returns():
    gate, memory = threading.Event(), None
    memory = Memory(gate=gate)
    frames = {"x": np.arange(3.0), "name": "kept"}
    with store.background(memory) as writer:
        writer.write(np.array([0, 1, 2]), frames)
        frames["x"][:] = -1
        gate.set()
    np.testing.assert_array_equal(memory.calls[0][1]["x"], [0, 1, 2])


def test_write_waits_while_the_queue_is_full():
    gate = threading.Event()
    memory = Memory(gate=gate)
    writer = store.background(memory, depth=3)
    for step in range(3):
        put(writer, step)
    done = threading.Event()
    thread = threading.Thread(target=lambda: (put(writer, 3), done.set()), daemon=True)
    thread.start()
    assert not done.wait(0.2)
    gate.set()
    assert done.wait(SECONDS)
    thread.join(SECONDS)
    writer.close()
    assert len(memory.calls) == 4


def test_an_error_is_raised_by_the_next_call_and_stops_writing():
    memory = Memory(fail_at=2)
    writer = store.background(memory, depth=1)
    raised = within(SECONDS, lambda: [put(writer, step) for step in range(1000)])
    assert isinstance(raised[0], OSError)
    for call in (lambda: put(writer, 2000), writer.flush, lambda: writer.rewind(1), lambda: writer.last):
        assert isinstance(within(SECONDS, call)[0], OSError)
    assert within(SECONDS, writer.close) == []  # raised before
    assert [call[0] for call in memory.calls] == [[0], [1]]
    assert memory.closed == 1


def test_close_raises_an_error_that_was_not_raised_before():
    memory = Memory(fail_at=0)
    writer = store.background(memory)
    put(writer, 0)
    assert isinstance(within(SECONDS, writer.close)[0], OSError)
    assert within(SECONDS, writer.close) == []
    with pytest.raises(ValueError, match="closed"):
        put(writer, 1)


def test_rewind_and_flush_follow_earlier_writes():
    memory = Memory()
    with store.background(memory, depth=8) as writer:
        for step in range(5):
            put(writer, step)
        writer.rewind(2)
        assert writer.last == 2
        put(writer, 3)
        writer.flush()
        assert [call if call == "flush" else call[0] for call in memory.calls] == [[0], [1], [2], [3], "flush"]


def test_a_full_disk_is_reported_and_does_not_hang():
    writer = store.background(store.CSVWriter("/dev/full", mode="w"), depth=2)
    raised = within(SECONDS, lambda: [put(writer, step) for step in range(50)])
    assert raised and isinstance(raised[0], OSError)
    assert within(SECONDS, writer.close) == []


def test_write_does_not_wait_for_the_disk():
    class Slow(Memory):
        def write(self, steps, frames):
            time.sleep(0.2)
            super().write(steps, frames)

    slow = Slow()
    with store.background(slow, depth=4) as writer:
        began = time.perf_counter()
        for step in range(4):
            put(writer, step, np.zeros((1, 1000)))
        assert time.perf_counter() - began < 0.2
    assert len(slow.calls) == 4


def test_a_deleted_writer_leaves_no_warning():
    put(store.background(Memory()), 0)
    gc.collect()
