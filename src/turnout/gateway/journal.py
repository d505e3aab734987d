"""Writes what must not be lost into local files that are only appended to, and reads them again after whatever happened.

A writer (one gateway process) has segments, `<writer>-<n>.log`, and a lock file that it holds while it lives. A segment is a
row of frames: length and CRC-32 of a body (4 bytes each, little-endian), and the body: one letter and MessagePack.

    h  [format, writer, number of the segment, length of the segment before it that must be there]: its first frame
    i  an Intent    e  an Entry    n  nothing: a trial whether there is room

One frame is one `write`, which survives a kill; `sync` makes it survive a power cut. A frame that was written in part is cut
off again, by us, or, if we did not live to do that, by whoever reads. What comes after a frame that cannot be believed is
not believed either, nor are later segments if the one before them is shorter than they say, up to one that does not need
that: after a power cut anything that was not synced may be missing, and a later record must never be there without the
earlier one (RELIABILITY T27).
Sources: RELIABILITY §1 D1 to D3; CRC-32 as zlib's.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import Final, TypeAlias
from zlib import crc32

import msgspec

from turnout.core.books.entry import Entry, Intent
from turnout.core.books.ledger import storable
from turnout.errors import StoreError
from turnout.gateway.disk import Disk, claim

Record: TypeAlias = Intent | Entry

FORMAT: Final = 1
SEGMENT_BYTES: Final = 4 * 1024 * 1024
"""About ten thousand records: how much is kept because of one that is still needed, and read at a time."""

LONGEST_BYTES: Final = 1024 * 1024
"""Of a frame's body: a longer one is damage."""

TRIAL_BYTES: Final = 64 * 1024
"""How much room there must be for a journal that was out of it to be used again: else it would come and go."""

_FRAME: Final = Struct("<II")
_encode = msgspec.msgpack.Encoder().encode
_intent = msgspec.msgpack.Decoder(Intent).decode
_entry = msgspec.msgpack.Decoder(Entry).decode


class _Header(msgspec.Struct, frozen=True, array_like=True):
    """What a segment begins with. before_bytes: how long the one before it must be; 0: it need not be there."""

    format: int
    writer: str
    number: int
    before_bytes: int


_header = msgspec.msgpack.Decoder(_Header).decode


class Segment(msgspec.Struct):
    """One file, and who still needs it. intents: without their entry yet. entries: not in the books yet.

    closed_at: the journal's position after its last record, and after the last entry to an intent in here: once that is
    synced, this may go. (One that is missing was synced, then, and all before it: so whoever reads may believe what follows.)
    """

    number: int
    path: Path
    length: int = 0
    intents: int = 0
    entries: int = 0
    closed_at: int = 0


class Journal:
    """One writer's own. Used by one thread, `sync` by another. Raises OSError, and then everything is as before.

    current: the segment that is written to. position: how many bytes were ever written. synced: up to where of them a power
    cut takes nothing. size_bytes: of all segments.
    """

    def __init__(
        self, folder: Path, writer: str, *, disk: Disk | None = None, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self.folder = folder
        self.writer = writer
        self.segments: dict[int, Segment] = {}
        self.current = Segment(0, folder)
        self.position = self.synced = self.size_bytes = 0
        self._disk = disk or Disk()
        self._segment_bytes = segment_bytes
        self._lock: int | None = None
        self._file = -1
        self._is_spoilt = False
        self._swapping = threading.Lock()  # of what follows, between the thread that writes and the one that syncs
        self._left: list[
            tuple[int, bool]
        ] = []  # files of earlier segments, to be closed; and whether to be synced before
        self._is_named = True
        self._is_doubtful = False

    def open(self) -> None:
        """Claim the name and begin the first segment. Raises StoreError if the name was used before; OSError."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = claim(lock_path(self.folder, self.writer))
        if self._lock is None or segments_of(self.folder, self.writer):
            self.close()
            raise StoreError(
                f"{self.folder}: {self.writer} has a journal already; each process needs a name of its own."
            )
        try:
            self.renew()
        except OSError:
            self.close()
            raise

    # ── writing ──

    def write(self, record: Record) -> Segment:
        """Append a record; return the segment that has it now. One system call; about 3 µs."""
        kind = b"i" if type(record) is Intent else b"e"
        try:
            body = kind + _encode(record)
        except UnicodeEncodeError:
            body = kind + _encode(storable(record))
        frame = _framed(body)
        if self._is_spoilt or self.current.length + len(frame) > self._segment_bytes:
            self._begin_segment(self.current.length)
        self._append(self._file, self.current, frame)
        return self.current

    def try_room(self) -> None:
        """Find out whether there is room to go on, and leave nothing. Raises OSError if there is not."""
        if self._is_spoilt:
            self._begin_segment(self.current.length)
        frame = _framed(b"n" + bytes(TRIAL_BYTES))
        length = self.current.length
        self._append(self._file, self.current, frame)
        self.current.length = length
        self.size_bytes -= len(frame)
        self._cut()

    def renew(self) -> None:
        """Go on in a new segment that needs nothing of the earlier ones: what of them is still wanted is to be written again.

        After a `sync` that failed, the system may have thrown away what it could not write, and says so only once.
        """
        self._begin_segment(0)

    def _begin_segment(self, before_bytes: int) -> None:
        """before_bytes: as in a header; 0: nothing of the segment before is needed, and it is not to be synced."""
        if before_bytes and not self._is_named:
            self._disk.sync_folder(
                self.folder
            )  # so fast is no writer: one that is missing was removed, never forgotten
        number = self.current.number + 1
        begun = Segment(number, self.folder / f"{self.writer}-{number}.log")
        file = self._disk.create(begun.path)
        try:
            self._append(file, begun, _framed(b"h" + _encode(_Header(FORMAT, self.writer, number, before_bytes))))
        except OSError:
            self._disk.close(file)
            self._disk.remove(begun.path)
            raise
        with self._swapping:
            if self._file >= 0:
                self._left.append((self._file, before_bytes > 0))
            self._file, self._is_named = file, False
            if not before_bytes:
                self._left = [(one, False) for one, _ in self._left]
                self._is_doubtful = False
        self._is_spoilt = False
        self.segments[number] = self.current = begun

    def _append(self, file: int, segment: Segment, frame: bytes) -> None:
        try:
            taken = self._disk.write(file, frame)
        except OSError:
            taken = 0
            raise
        finally:
            if taken != len(frame) and segment is self.current:
                self._cut()
        if taken != len(frame):
            raise OSError(errno.ENOSPC, "the disk took a part of a record only")
        segment.length += taken
        self.size_bytes += taken
        self.position += taken
        segment.closed_at = self.position

    def _cut(self) -> None:
        """Take off what does not belong there. If even that fails, the next record goes into a new segment."""
        try:
            self._disk.cut(self._file, self.current.length)
        except OSError:
            self._is_spoilt = True

    # ── keeping ──

    def sync(self) -> None:
        """Make what was written so far survive a power cut. Raises OSError: then nothing does until `renew`. Milliseconds."""
        with self._swapping:
            left, self._left = self._left, []
            file, position, is_named = self._file, self.position, self._is_named
            self._is_named = True
        try:
            self._sync_files([one for one, is_wanted in left if is_wanted] + [file], is_named=is_named)
        except OSError:
            self._is_doubtful = True
            with self._swapping:
                self._is_named = self._is_named and is_named
            raise
        finally:
            for one, _ in left:
                self._disk.close(one)
        self.synced = position

    def _sync_files(self, files: Sequence[int], *, is_named: bool) -> None:
        if self._is_doubtful:
            raise OSError(errno.EIO, "an earlier sync failed")
        if not is_named:
            self._disk.sync_folder(self.folder)
        for file in files:
            self._disk.sync(file)

    def drop(self, segment: Segment) -> None:
        """Remove a segment that nobody needs. Raises OSError."""
        self._disk.remove(segment.path)
        del self.segments[segment.number]
        self.size_bytes -= segment.length

    def close(self, *, is_done: bool = False) -> None:
        """Let go of it. is_done: nobody needs anything of it: its files go, too. Nobody syncs any more. Safe to call twice."""
        files = [one for one, _ in self._left] + ([self._file] if self._file >= 0 else [])
        self._left, self._file = [], -1
        for file in files:
            self._disk.close(file)
        if self._lock is not None:
            if is_done:
                for segment in list(self.segments.values()):
                    self.drop(segment)
                self._disk.remove(lock_path(self.folder, self.writer))
            lock, self._lock = self._lock, None
            os.close(lock)


def _framed(body: bytes) -> bytes:
    return _FRAME.pack(len(body), crc32(body)) + body


# ── reading ──


class Page(msgspec.Struct, frozen=True):
    """What a segment says. end: up to where it can be believed; size: of the file. before_bytes: as in its header."""

    path: Path
    records: tuple[Record, ...]
    end: int
    size: int
    before_bytes: int = 0


def read(path: Path, start: int = 0) -> Page:
    """Read a segment from `start` on, where a frame begins. O(its bytes).

    Raises OSError; ValueError: it was written by another version, which has to read it itself.
    """
    with path.open("rb") as file:
        file.seek(start)
        data = file.read()
    records: list[Record] = []
    before_bytes = 0
    end = start
    for at, body in _bodies(data):
        kind = body[:1]
        try:
            if kind == b"e":
                records.append(_entry(body[1:]))
            elif kind == b"i":
                records.append(_intent(body[1:]))
            elif kind == b"h":
                header = _header(body[1:])
                before_bytes = header.before_bytes
                _check(header.format == FORMAT, path)
            else:
                _check(kind == b"n", path)
        except msgspec.MsgspecError:
            _check(False, path)
        end = start + at
    return Page(path, tuple(records), end, start + len(data), before_bytes)


def _bodies(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the end and the body of each frame, up to the first that cannot be believed."""
    at = 0
    while at + _FRAME.size <= len(data):
        size, crc = _FRAME.unpack_from(data, at)
        at += _FRAME.size
        body = data[at : at + size]
        if not 0 < size <= LONGEST_BYTES or len(body) != size or crc32(body) != crc:
            return
        at += size
        yield at, body


def _check(is_known: bool, path: Path) -> None:  # noqa: FBT001 - says what is checked
    if not is_known:
        raise ValueError(f"{path} was written by another version of Turnout: start that one once, so that it is booked")


def read_all(folder: Path, writer: str) -> Iterator[Page]:
    """Yield what a writer's segments say, but for those that cannot follow the one before, up to one that needs none before.

    A segment that is not there was removed, since nobody needed it any more; a power cut may bring it back, shorter than it
    was. Raises as `read`.
    """
    number, end, is_believed = 0, 0, True
    for number_now, path in segments_of(folder, writer):
        page = read(path)
        if not page.before_bytes or number_now != number + 1:
            is_believed = True
        elif page.before_bytes > end:
            is_believed = False
        number, end = number_now, page.end
        if is_believed:
            yield page


def segments_of(folder: Path, writer: str) -> list[tuple[int, Path]]:
    """Return a writer's segments by number, oldest first."""
    found = []
    for path in folder.glob("*.log"):
        name, _, number = path.stem.rpartition("-")
        if name == writer and number.isdecimal():
            found.append((int(number), path))
    return sorted(found)


def writers_in(folder: Path) -> list[str]:
    """Return who has, or had, a journal in this folder."""
    locks = {path.stem for path in folder.glob("*.lock")}
    return sorted(locks | {path.stem.rpartition("-")[0] for path in folder.glob("*.log")})


def lock_path(folder: Path, writer: str) -> Path:
    """Return the file that a writer holds while it lives."""
    return folder / f"{writer}.lock"
