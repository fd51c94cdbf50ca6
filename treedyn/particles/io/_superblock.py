"""The mark in the first bytes of HDF5 that says that a file is being written.

The mark stays if the writer was killed. HDF5 then reads the file only as one that grows, where it tries again for years
if a checksum is wrong. A file whose mark was taken away, as `h5clear` does, is read as any other. Its metadata are
consistent, because HDF5 writes them in the right order.

Reference: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

import io
import struct
from pathlib import Path

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
    return rest + struct.pack("<I", _checksum(rest))


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
    """Return the hash lookup3 of R. Jenkins of whole words of 32 bits."""
    words = struct.unpack(f"<{len(data) // 4}I", data)
    a = b = c = 0xDEADBEEF + len(data)
    for k in range(0, len(words), 3):
        x, y, z = (*words[k : k + 3], 0, 0)[:3]
        a, b, c = _word(a + x), _word(b + y), _word(c + z)
        for bits in (4, 6, 8, 16, 19, 4) if k + 3 < len(words) else ():
            a, b, c = b, _word(b + c), _word(a - c) ^ _turned(c, bits)
    for bits in (14, 11, 25, 16, 4, 14, 24):
        a, b, c = b, _word((c ^ b) - _turned(b, bits)), a
    return b


def _word(x: int) -> int:
    return x & 0xFFFFFFFF


def _turned(x: int, bits: int) -> int:
    return _word(x << bits) | x >> (32 - bits)
