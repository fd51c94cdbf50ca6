"""A file of frames in a format of one's own: two methods, and the promises of all writers."""

import os
import struct

import numpy as np
import pytest

from treedyn import store


class Lines(store.GrowingWriter):
    kind = "list of energies"

    def encode(self, steps, frames):
        return "".join(f"{step} {x!r}\n" for step, x in zip(steps, frames.tolist(), strict=True)).encode()

    def read_step(self, file):
        line = file.readline()
        return int(line.split()[0]) if line.endswith(b"\n") else None


class Blocks(store.GrowingWriter):
    """Binary frames of three doubles, after four letters at the top."""

    def encode(self, steps, frames):
        head = b"THRE" if self.last is None else b""
        return head + b"".join(struct.pack("<q3d", step, *x) for step, x in zip(steps, frames, strict=True))

    def read_step(self, file):
        if self.last is None and file.read(4) != b"THRE":
            raise ValueError("expected THRE at the top")
        data = file.read(32)
        return struct.unpack("<q", data[:8])[0] if len(data) == 32 else None


KINDS = pytest.mark.parametrize(("kind", "shape"), [(Lines, ()), (Blocks, (3,))], ids=["lines", "blocks"])


def fill(writer, shape, steps):
    writer.write(np.array(steps), np.stack([np.full(shape, step / 3) for step in steps]))


@KINDS
def test_an_incomplete_frame_is_dropped_and_the_rest_is_kept(kind, shape, tmp_path):
    path = tmp_path / "frames"
    with kind(path) as out:
        fill(out, shape, [10, 20, 30])
    whole = path.read_bytes()
    for cut in range(4, len(whole)):
        path.write_bytes(whole[:cut])
        with kind(path, mode="a") as out:
            assert whole.startswith(path.read_bytes()) and len(path.read_bytes()) <= cut
            fill(out, shape, [step for step in (10, 20, 30) if out.last is None or step > out.last])
        assert path.read_bytes() == whole


@KINDS
def test_rewinding_leaves_no_gap_and_no_duplicate(kind, shape, tmp_path):
    with kind(tmp_path / "frames") as out, kind(tmp_path / "straight") as straight:
        fill(straight, shape, [10, 20, 30])
        fill(out, shape, [10, 20])
        out.rewind(5)
        assert out.last is None and not out.path.read_bytes()
        fill(out, shape, [10, 20, 25])
        out.rewind(20)
        fill(out, shape, [30])
        out.write(np.zeros(0, int), np.zeros((0, *shape)))
        assert out.last == 30
    assert out.path.read_bytes() == straight.path.read_bytes()


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        (Lines, b"10 1.0\nten 2.0\n20 3.0\n", "cannot be continued as list of energies: invalid literal"),
        (Lines, b"10 1.0\n\n20 3.0\n", "list of energies"),
        (Lines, b"10 1.0\n10 1.0\n", "bytes from 7 on are not the next frame"),
        (Blocks, b"FOUR" + bytes(64), "cannot be continued as file of frames: expected THRE"),
    ],
)
def test_a_file_of_another_format_is_refused_and_unchanged(kind, content, said, tmp_path):
    path = tmp_path / "frames"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        kind(path, mode="a")
    assert path.read_bytes() == content


class Shy(Lines):
    """Returns `None` for a frame that it cannot parse, as if it were incomplete."""

    def read_step(self, file):
        words = file.readline().split()
        return int(words[0]) if len(words) == 2 else None


def test_no_frame_is_dropped_after_one_that_cannot_be_parsed(tmp_path):
    path = tmp_path / "frames"
    path.write_bytes(b"10 1.0\n20 2.0 # hot\n30 3.0\n")
    with pytest.raises(ValueError, match="bytes from 7 on are not the next frame"):
        Shy(path, mode="a")
    assert path.read_bytes() == b"10 1.0\n20 2.0 # hot\n30 3.0\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_a_full_disk_is_an_error_at_once():
    with Lines("/dev/full", mode="w") as out:
        with pytest.raises(OSError, match="space"):
            fill(out, (), [10])
        assert out.last is None
