"""Writing Matroska files with microsecond times: what an Azure Kinect recording needs and PyAV's muxer can't do.

PyAV writes times in milliseconds and knows no Kinect motion sensor track. Format: RFC 8794 (EBML), RFC 9559 (Matroska).
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Literal

Buffer = bytes | bytearray | memoryview

_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
_SEEK_HEAD, _SEEK, _SEEK_ID, _SEEK_POSITION = 0x114D9B74, 0x4DBB, 0x53AB, 0x53AC
_INFO, _TIMESTAMP_SCALE, _DURATION, _MUXING_APP, _WRITING_APP, _TITLE = (
    0x1549A966, 0x2AD7B1, 0x4489, 0x4D80, 0x5741, 0x7BA9,
)  # fmt: skip
_TRACKS, _TRACK_ENTRY, _TRACK_NUMBER, _TRACK_UID, _TRACK_TYPE = 0x1654AE6B, 0xAE, 0xD7, 0x73C5, 0x83
_CODEC_ID, _CODEC_PRIVATE, _NAME, _DEFAULT_DURATION = 0x86, 0x63A2, 0x536E, 0x23E383
_VIDEO, _PIXEL_WIDTH, _PIXEL_HEIGHT = 0xE0, 0xB0, 0xBA
_ATTACHMENTS, _ATTACHED_FILE, _FILE_NAME, _FILE_TYPE, _FILE_DATA, _FILE_UID = (
    0x1941A469, 0x61A7, 0x466E, 0x4660, 0x465C, 0x46AE,
)  # fmt: skip
_TAGS, _TAG, _TARGETS, _TARGET_TYPE, _TAG_TRACK_UID, _TAG_FILE_UID = 0x1254C367, 0x7373, 0x63C0, 0x63CA, 0x63C5, 0x63C6
_SIMPLE_TAG, _TAG_NAME, _TAG_STRING = 0x67C8, 0x45A3, 0x4487
_CLUSTER, _TIMESTAMP, _SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK, _BLOCK_DURATION = 0x1F43B675, 0xE7, 0xA3, 0xA0, 0xA1, 0x9B
_CUES, _CUE_POINT, _CUE_TIME, _CUE_TRACK_POSITIONS, _CUE_TRACK, _CUE_CLUSTER = (
    0x1C53BB6B, 0xBB, 0xB3, 0xB7, 0xF7, 0xF1,
)  # fmt: skip

_VIDEO_TRACK, _SUBTITLE_TRACK = 1, 0x11
_KEYFRAME = 0x80
_CLUSTER_REACH = 32_767  # a block's time counts from its cluster's in 16 bits
_TICK_NS = 1000
_UNKNOWN = (1 << 56) - 1  # a segment's size until it is known


def size_bytes(size: int, length: int = 0) -> bytes:
    """EBML's variable-length number: as short as it goes, or `length` bytes."""
    length = length or next(n for n in range(1, 9) if size < (1 << (7 * n)) - 1)
    return (size | 1 << (7 * length)).to_bytes(length, "big")


def element(identifier: int, *content: Buffer) -> bytes:
    """An element of that content, joined."""
    body = b"".join(content)
    return _id(identifier) + size_bytes(len(body)) + body


def unsigned(identifier: int, value: int, length: int = 0) -> bytes:
    """An element holding an unsigned number, as short as it goes or in `length` bytes."""
    return element(identifier, value.to_bytes(length or max(1, (value.bit_length() + 7) // 8), "big"))


def text(identifier: int, value: str) -> bytes:
    """An element holding UTF-8 text."""
    return element(identifier, value.encode())


def _id(identifier: int) -> bytes:
    return identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")


@dataclass(frozen=True)
class Track:
    """One track. kind: `video` with a size in pixels, or `data`. tags belong to it."""

    name: str
    kind: Literal["video", "data"]
    codec: str
    private: bytes = b""
    size: tuple[int, int] = (0, 0)
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Attachment:
    """A file within the file. tags belong to it."""

    name: str
    data: bytes
    media_type: str = "application/octet-stream"
    tags: Mapping[str, str] | None = None


class MatroskaWriter:
    """Writes one file onto a seekable stream; every track, tag and attachment is known from the start.

    Times are microseconds from the file's beginning. A cluster (blocks within 33 ms) is kept in memory until the next
    begins. The stream stays the caller's; a file without `finish` can be played, but not sought in.
    """

    def __init__(
        self, stream: IO[bytes], title: str, tracks: Sequence[Track], tags: Mapping[str, str],
        attachments: Sequence[Attachment] = (),
    ) -> None:  # fmt: skip
        self._stream, self._tracks, self._title = stream, tracks, title
        self._uids = [_uid() for _ in tracks]
        self._cluster: list[Buffer] = []
        self._cluster_us = self._last_us = 0
        self._cues: list[bytes] = []
        file_uids = [_uid() for _ in attachments]
        self._attached = b"".join(map(_attached, attachments, file_uids))
        self._tags = b"".join([
            *(_tag(name, value, "TRACK", _TAG_TRACK_UID, uid) for track, uid in zip(tracks, self._uids, strict=True)
              for name, value in ({f"K4A_{track.name}_TRACK": str(uid)} | dict(track.tags or {})).items()),
            *(_tag(name, value, "ATTACHMENT", _TAG_FILE_UID, uid)
              for file, uid in zip(attachments, file_uids, strict=True) for name, value in (file.tags or {}).items()),
            *(_tag(name, value) for name, value in tags.items()),
        ])  # fmt: skip
        stream.write(_file_head() + _id(_SEGMENT) + size_bytes(_UNKNOWN, 8))
        self._segment = stream.tell()
        stream.write(self._head())

    def _head(self, *, cues_at: int = 0, duration_us: int = 0, frame_ns: int = 1) -> bytes:
        """What stands before the clusters; as long before its numbers are known as after."""
        elements = {
            _INFO: element(
                _INFO, unsigned(_TIMESTAMP_SCALE, _TICK_NS), text(_MUXING_APP, "wardpose"),
                text(_WRITING_APP, "wardpose"), text(_TITLE, self._title),
                element(_DURATION, struct.pack(">d", duration_us)),
            ),
            _TRACKS: element(_TRACKS, self._track_entries(frame_ns)),
            _ATTACHMENTS: element(_ATTACHMENTS, self._attached),
            _TAGS: element(_TAGS, self._tags),
        }  # fmt: skip
        position = len(_seek_head(dict.fromkeys([*elements, _CUES], 0)))
        positions = {}
        for identifier, data in elements.items():
            positions[identifier] = position
            position += len(data)
        return _seek_head(positions | {_CUES: cues_at}) + b"".join(elements.values())

    def _track_entries(self, frame_ns: int) -> bytes:
        entries = []
        for number, (track, uid) in enumerate(zip(self._tracks, self._uids, strict=True), start=1):
            video = track.kind == "video"
            entry = [
                unsigned(_TRACK_NUMBER, number), unsigned(_TRACK_UID, uid, 8),
                unsigned(_TRACK_TYPE, _VIDEO_TRACK if video else _SUBTITLE_TRACK), text(_CODEC_ID, track.codec),
                text(_NAME, track.name),
            ]  # fmt: skip
            if track.private:
                entry.append(element(_CODEC_PRIVATE, track.private))
            if video:
                width, height = track.size
                entry.append(unsigned(_DEFAULT_DURATION, frame_ns, 4))
                entry.append(element(_VIDEO, unsigned(_PIXEL_WIDTH, width), unsigned(_PIXEL_HEIGHT, height)))
            entries.append(element(_TRACK_ENTRY, *entry))
        return b"".join(entries)

    def write(self, track: int, time_us: int, data: Buffer) -> None:
        """Add a block to the track of that number (from 0). Times may step back by less than a cluster (33 ms)."""
        if not self._cluster or not -_CLUSTER_REACH <= time_us - self._cluster_us <= _CLUSTER_REACH:
            self._end_cluster()
            self._cluster_us = time_us
            self._cluster = [unsigned(_TIMESTAMP, time_us)]
        self._last_us = max(self._last_us, time_us)
        video = self._tracks[track].kind == "video"
        head = size_bytes(track + 1) + struct.pack(">hB", time_us - self._cluster_us, _KEYFRAME if video else 0)
        if video:
            self._cluster += [_id(_SIMPLE_BLOCK), size_bytes(len(head) + len(data)), head, data]
        else:
            self._cluster.append(element(_BLOCK_GROUP, element(_BLOCK, head, data), unsigned(_BLOCK_DURATION, 1)))

    def _end_cluster(self) -> None:
        if not self._cluster:
            return
        position = self._stream.tell() - self._segment
        where = element(_CUE_TRACK_POSITIONS, unsigned(_CUE_TRACK, 1), unsigned(_CUE_CLUSTER, position))
        self._cues.append(element(_CUE_POINT, unsigned(_CUE_TIME, self._cluster_us), where))
        self._stream.write(_id(_CLUSTER) + size_bytes(sum(map(len, self._cluster))))
        for piece in self._cluster:
            self._stream.write(piece)
        self._cluster = []

    def finish(self, frame_ns: int) -> None:
        """Write the index, the duration and the time of a frame (nanoseconds), and the segment's size."""
        self._end_cluster()
        cues_at = self._stream.tell() - self._segment
        self._stream.write(element(_CUES, *self._cues))
        end = self._stream.tell()
        self._stream.seek(self._segment - 8)
        self._stream.write(size_bytes(end - self._segment, 8))
        self._stream.write(self._head(cues_at=cues_at, duration_us=self._last_us, frame_ns=frame_ns))
        self._stream.seek(end)


def _uid() -> int:
    return secrets.randbits(56) + 1  # 0 stands for none


def _file_head() -> bytes:
    numbers = ((0x4286, 1), (0x42F7, 1), (0x42F2, 4), (0x42F3, 8), (0x4287, 2), (0x4285, 2))
    return element(_EBML, *(unsigned(i, v) for i, v in numbers[:4]), text(0x4282, "matroska"),
                   *(unsigned(i, v) for i, v in numbers[4:]))  # fmt: skip


def _seek_head(positions: Mapping[int, int]) -> bytes:
    return element(_SEEK_HEAD, *(
        element(_SEEK, element(_SEEK_ID, _id(identifier)), unsigned(_SEEK_POSITION, position, 8))
        for identifier, position in positions.items()
    ))  # fmt: skip


def _attached(attachment: Attachment, uid: int) -> bytes:
    return element(
        _ATTACHED_FILE, text(_FILE_NAME, attachment.name), text(_FILE_TYPE, attachment.media_type),
        element(_FILE_DATA, attachment.data), unsigned(_FILE_UID, uid, 8),
    )  # fmt: skip


def _tag(name: str, value: str, kind: str = "", uid_id: int = 0, uid: int = 0) -> bytes:
    target = text(_TARGET_TYPE, kind) + unsigned(uid_id, uid, 8) if kind else b""
    return element(
        _TAG, element(_TARGETS, target), element(_SIMPLE_TAG, text(_TAG_NAME, name), text(_TAG_STRING, value))
    )
