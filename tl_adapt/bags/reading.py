# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for reading a rosbag2 bag: whatever its files are, and as much of it as there is."""

from __future__ import annotations

import dataclasses
import functools
import heapq
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import yaml

from tl_adapt.bags.storage import (
    FOREVER,
    ZSTD_MAGIC,
    Loss,
    Losses,
    Message,
    StorageFile,
    TopicInfo,
    zstd,
)
from tl_adapt.errors import InputError, TlAdaptError

if TYPE_CHECKING:
    from tl_adapt.bags.types import BagTypes

_FORMATS = ('.mcap', '.db3')
_METADATA = 'metadata.yaml'
_HINT = (
    'reading bags needs the Python package {name}, which can not be imported ({error}); install '
    "it, for example with: pip install 'rosbags>=0.11' mcap"
)
_STEP = 1 << 20
_LARGEST_METADATA = 64 << 20
_BUNCH = 1000
_LARGEST_GAP = 100  # numbers that are further apart do not count the files of one bag
_MARGIN = 1_000_000_000  # ns that messages at the end of a file may be late by


@dataclasses.dataclass(frozen=True)
class _Listed:
    """Hold what metadata.yaml says."""

    files: tuple[Path, ...] = ()
    distro: str = ''


class Bag:
    """
    Read a bag: a folder with or without metadata.yaml, one file, or several files (splits).

    Opening it reads only what the files say of themselves; messages are read one after the other.
    What is damaged or missing is in `losses`; more of them may be found while messages are read.
    """

    def __init__(self, path: Path | str | Iterable[Path | str]) -> None:
        """
        Open all files.

        Raises InputError if there is no bag or nothing of it can be read, TlAdaptError if a
        package is missing.
        """
        paths = [Path(path)] if isinstance(path, str | Path) else [Path(part) for part in path]
        if not paths:
            raise InputError('must name a bag', key='bag')
        self.path = paths[0]
        self._losses = Losses()
        self._files: list[StorageFile] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._absent: dict[Path, str] = {}  # files that belong to the bag, and why not
        listed = self._find(paths)
        try:
            self._open(listed.files, split=paths[0].is_dir())
            infos: dict[str, TopicInfo] = {}
            for file in self._files:
                for topic, info in file.topics.items():
                    known = infos.get(topic)
                    if known is not None and known.type != info.type:
                        raise InputError(
                            f'topic {topic} must have one type, but has {known.type} and '
                            f'{info.type}', file=self.path,
                        )
                    if known is None or (info.definition and not known.definition):
                        infos[topic] = info
        except BaseException:
            self.close()
            raise
        self._infos = infos
        self._distro = listed.distro
        used = [file for file in self._files if file.end_ns]
        self.start_ns = min((file.start_ns for file in used), default=0)
        self.end_ns = max((file.end_ns for file in used), default=0)

    @property
    def topics(self) -> dict[str, str]:
        """Return the types of the topics, by their full names."""
        return {topic: info.type for topic, info in self._infos.items()}

    @functools.cached_property
    def counts(self) -> dict[str, int]:
        """Return the number of messages by topic; may take a while for SQLite files."""
        counts = dict.fromkeys(self._infos, 0)
        for file in self._files:
            for topic, number in file.counts.items():
                counts[topic] += number
        return counts

    @property
    def losses(self) -> list[Loss]:
        """Return what is damaged or missing, as far as it was found by now."""
        return [*self._losses, *chain.from_iterable(file.losses for file in self._files)]

    @property
    def complete(self) -> bool:
        """Tell whether nothing was found damaged or missing by now."""
        return not self.losses

    @functools.cached_property
    def types(self) -> BagTypes:
        """Return the types of messages."""
        from tl_adapt.bags.types import BagTypes

        return BagTypes(self._infos, self._distro)

    def require(self, topic: str, kind: str) -> None:
        """Raise InputError if a topic is of another type than it must be."""
        if self.topics[topic] != kind:
            raise InputError(
                f'topic {topic} must be of type {kind}', file=self.path, value=self.topics[topic]
            )

    def info(self, topic: str) -> TopicInfo:
        """Return what the bag says of a topic; `qos` is YAML, '' if the bag has none."""
        return self._infos[topic]

    def messages(
        self, topics: Collection[str] | None = None, *, start_ns: int = 0, end_ns: int = FOREVER
    ) -> Iterator[Message]:
        """
        Return (topic, time of recording [ns], message in CDR) in the order of the times.

        Of all topics (None) or some; from `start_ns` on and before `end_ns`.
        """
        for bunch in self.bunches(topics, start_ns=start_ns, end_ns=end_ns):
            yield from bunch

    def bunches(
        self, topics: Collection[str] | None = None, *, start_ns: int = 0, end_ns: int = FOREVER
    ) -> Iterator[list[Message]]:
        """Return the same as `messages`, some at once."""
        wanted = set(self._infos if topics is None else topics)
        for group in self._groups():
            parts = [file.bunches(wanted, start_ns, end_ns) for file in group]
            if len(parts) == 1:
                yield from parts[0]
                continue
            merged = heapq.merge(
                *(chain.from_iterable(part) for part in parts), key=itemgetter(1)
            )
            while bunch := list(islice(merged, _BUNCH)):
                yield bunch

    def close(self) -> None:
        """Close all files; a second call does nothing."""
        for file in self._files:
            file.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _groups(self) -> Iterator[list[StorageFile]]:
        """Return the files in the order of time, those that overlap together."""
        group: list[StorageFile] = []
        end = 0
        for file in sorted(self._files, key=lambda file: file.start_ns):
            if group and file.start_ns > end:
                yield group
                group = []
            group.append(file)
            end = max(end, file.end_ns)
        if group:
            yield group

    # --- files ----------------------------------------------------------------------------------

    def _find(self, paths: list[Path]) -> _Listed:
        """Return the files of the bag; those that are missing are losses."""
        for path in paths:
            if not path.exists():
                raise InputError('there is no such bag', file=path)
        if len(paths) > 1 or not paths[0].is_dir():
            return _Listed(tuple(paths))
        folder = paths[0]
        listed = self._read_metadata(folder / _METADATA)
        present = sorted((p for p in folder.iterdir() if _format(p)), key=_natural)
        # A file that was compressed after it had been recorded has another name.
        by_stem = {_plain_name(path): path for path in present}
        found = []
        for name in (path.name for path in listed.files):
            part = by_stem.get(_plain_name(Path(name)))
            if part is None:
                self._absent[folder / name] = 'the file is missing'
            else:
                found.append(part)
        if not found:
            self._absent.clear()  # where all of them were renamed, what is there counts
        files = tuple(found) if found else tuple(present)
        left = {_numbered(path): path for path in present if path not in files}
        for name, number in _gaps(files, left):
            self._absent.setdefault(
                left.get((name, number), folder / f'{name}{number}{_format(files[0])}'),
                f'is not in {_METADATA}, so it is not read' if (name, number) in left
                else 'the file is missing, by the numbers of the others',
            )
        if not files:
            raise InputError(
                'must be a bag: a folder with .mcap or .db3 files, or such a file', file=folder
            )
        return _Listed(files, listed.distro)

    def _read_metadata(self, path: Path) -> _Listed:
        """Return what metadata.yaml says; without it, or if it is no good, nothing."""
        try:
            if path.stat().st_size > _LARGEST_METADATA:
                return _Listed()
            loader = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
            content = yaml.load(path.read_text(encoding='utf-8'), loader)  # noqa: S506
            content = content['rosbag2_bagfile_information']
            files = content.get('relative_file_paths') or ()
            distro = content.get('ros_distro') or ''
            return _Listed(
                tuple(Path(Path(str(file)).name) for file in files if str(file)),
                str(distro),
            )
        except (
            OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError,
            yaml.YAMLError,
        ):
            return _Listed()

    def _open(self, files: Collection[Path], *, split: bool) -> None:
        """Open files; `split` says that their names tell their order."""
        problem: InputError | None = None
        opened: dict[Path, StorageFile] = {}
        for path in files:
            try:
                opened[path] = self._open_file(path)
                self._files.append(opened[path])
            except InputError as error:
                problem = problem or error
                self._absent[path] = error.rule
            except OSError as error:
                text = f'can not be read ({error.strerror or error})'
                problem = problem or InputError(text, file=path)
                self._absent[path] = text
        if problem is not None and not self._files:
            raise problem
        for path, text in self._absent.items():
            span = _between(opened, path) if split else (0, FOREVER)
            self._losses.note(Loss(f'{path}: {text}', *span))

    def _open_file(self, path: Path) -> StorageFile:
        """Open one file by what it holds; its name may be anything if it is not compressed."""
        with path.open('rb') as file:
            magic = file.read(16)
        label = str(path)
        if magic[:4] == ZSTD_MAGIC:
            path = self._decompress(path)
            with path.open('rb') as file:
                magic = file.read(16)
        if not magic:
            raise InputError('is empty', file=label)
        if magic.startswith(b'#ROSBAG V'):
            raise InputError(
                'is a bag of ROS 1: convert it, for example with rosbags-convert', file=label
            )
        try:
            if magic.startswith(b'\x89MCAP'):
                from tl_adapt.bags.mcap_file import McapFile

                return McapFile(path, label)
            if magic.startswith(b'SQLite'):
                from tl_adapt.bags.sqlite_file import SqliteFile

                return SqliteFile(path, label)
        except ImportError as error:
            name = (error.name or 'mcap').partition('.')[0]
            raise TlAdaptError(_HINT.format(name=name, error=error)) from error
        raise InputError('must be an MCAP or SQLite file of rosbag2', file=label)

    def _decompress(self, path: Path) -> Path:
        """Decompress a file into a temporary folder; what is cut off gives what it holds."""
        try:
            module = zstd()
        except ImportError as error:
            raise TlAdaptError(_HINT.format(name='backports.zstd', error=error)) from error
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix='tl_adapt-bag-')
        target = Path(self._folder.name) / f'{len(self._files)}-{path.stem}'
        try:
            with module.open(path, 'rb') as source, target.open('wb') as sink:
                while piece := source.read1(_STEP):
                    sink.write(piece)
        except (module.ZstdError, EOFError) as error:
            self._losses.note(Loss(f'{path}: can not be decompressed to its end ({error})'))
        return target


def _format(path: Path) -> str:
    """Return the suffix that says the format of a file of a bag, '' if it is none."""
    suffix = Path(_plain_name(path)).suffix
    return suffix if suffix in _FORMATS else ''


def _numbered(path: Path) -> tuple[str, int]:
    """Return what a file's name begins with and its number in a bag that was split; else -1."""
    match = re.fullmatch(r'(.*?)([0-9]{1,9})', Path(_plain_name(path)).stem)
    return (match[1], int(match[2])) if match else (path.name, -1)


def _gaps(
    files: Collection[Path], left: Collection[tuple[str, int]]
) -> Iterator[tuple[str, int]]:
    """Return the numbers that the files of a bag skip, or that others have which are `left`."""
    names = {name for name, _ in map(_numbered, files)}
    numbers = sorted(number for _, number in map(_numbered, files))
    if len(names) != 1 or numbers[0] < 0:
        return
    (name,) = names
    for before, behind in zip(numbers, numbers[1:]):
        if behind - before <= _LARGEST_GAP:
            yield from ((name, number) for number in range(before + 1, behind))
    yield from ((other, number) for other, number in left if other == name)


def _between(opened: Mapping[Path, StorageFile], path: Path) -> tuple[int, int]:
    """Return between which times [ns] a bag that was split has what is in one of its files."""
    start, end = 0, FOREVER
    for other, file in opened.items():
        if file.end_ns and _natural(other) < _natural(path):
            start = max(start, file.end_ns - _MARGIN)
        elif file.end_ns:
            end = min(end, file.start_ns + _MARGIN)
    return start, end


def _plain_name(path: Path) -> str:
    """Return a file's name without the suffix of compression."""
    return path.name.removesuffix('.zstd').removesuffix('.zst')


def _natural(path: Path) -> list[Any]:
    """Return a key that puts bag_10 behind bag_9."""
    return [
        (0, int(part), '') if part.isdigit() else (1, 0, part)
        for part in re.split(r'(\d+)', path.name)
    ]
