"""The mark in the first bytes of HDF5 that says that a file is being written.

The mark stays if the writer was killed. HDF5 then reads the file only as one that grows, where it tries again for years
if a checksum is wrong. A file whose mark was taken away, as `h5clear` does, is read as any other. Its metadata are
consistent, because HDF5 writes them in the right order.

Reference: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

import io
from pathlib import Path

import numpy as np

_START = b"\x89HDF\r\n\x1a\n\x03\x08\x08"  # version 3 of the format, with addresses of 8 bytes
_FLAGS, _END, _SUM, _SIZE = len(_START), 28, 44, 48
_GROWS = 4  # single writer, multiple readers


def is_growing(path: Path) -> bool:
    """Return whether a file has the mark."""
    with path.open("rb") as file:
        head = file.read(_SIZE)
    return len(head) >= _SIZE and head.startswith(_START) and bool(head[_FLAGS] & _GROWS)


def unmarked(head: bytes, size: int) -> bytes:
    """Return the first bytes of a file of `size` bytes without the mark."""
    rest = _START + b"\0" + head[_FLAGS + 1 : _END] + size.to_bytes(8, "little") + head[_END + 8 : _SUM]
    return rest + _checksum(rest).to_bytes(4, "little")


def take_mark(path: Path) -> None:
    """Take the mark from a file whose writer was killed."""
    with path.open("r+b") as file:
        head = unmarked(file.read(_SIZE), file.seek(0, io.SEEK_END))
        file.seek(0)
        file.write(head)


def length(path: Path) -> int:
    """Return the number of bytes that a closed file uses."""
    with path.open("rb") as file:
        return int.from_bytes(file.read(_SIZE)[_END : _END + 8], "little")


class Unmarked(io.FileIO):
    """A file that has the mark, to read without it at its present length."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._head = unmarked(self.read(_SIZE), self.seek(0, io.SEEK_END))

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read bytes from the present position."""
        part = self._head[self.tell() :]
        count = super().readinto(buffer) or 0
        memoryview(buffer).cast("B")[: len(part)] = part[: len(buffer)]
        return count

    def __del__(self) -> None:
        self.close()


def _checksum(data: bytes) -> int:
    """Return the hash lookup3 of R. Jenkins of whole words of 32 bits, in arithmetic that wraps."""
    blocks = np.frombuffer(data.ljust(-(-len(data) // 12) * 12, b"\0"), "<u4").reshape(-1, 3, 1)
    a = b = c = np.array([0xDEADBEEF + len(data)], np.uint32)
    for k, (x, y, z) in enumerate(blocks, 1):
        a, b, c = a + x, b + y, c + z
        for bits in (4, 6, 8, 16, 19, 4) if k < len(blocks) else ():
            a, b, c = b, b + c, (a - c) ^ (c << bits | c >> 32 - bits)
    for bits in (14, 11, 25, 16, 4, 14, 24):
        a, b, c = b, (c ^ b) - (b << bits | b >> 32 - bits), a
    return int(b[0])
