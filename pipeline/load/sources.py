"""The raw files of a job: which they are, in which order, and what their headers say."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

from pipeline.errors import InputError
from pipeline.job import CsvSettings
from pipeline.load.header import check_settings, list_repeated, name_columns, read_header
from pipeline.load.json_lines import read_keys
from pipeline.load.opening import Location, find_encoding, hash_content
from pipeline.load.parquet import read_types
from pipeline.load.source import Format, Source

FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


def list_sources(
    patterns: Sequence[str],
    folder: Path | str,
    csv_settings: CsvSettings,
    on_bad_file: Literal["fail", "quarantine"] = "fail",
) -> tuple[Source, ...]:
    """List raw files and read their headers.

    Args:
        patterns: Paths and globs relative to `folder`, and fsspec URLs.
        folder: Where the job file lies.
        csv_settings: How delimited text is written; `.tsv` has tabs unless a delimiter is given.
        on_bad_file: "quarantine" to mark a file that cannot be read by its `fault`.

    Raises:
        InputError: Nothing matches, a format is unknown, or a file is empty or unreadable.
    """
    check_settings(csv_settings)
    found: dict[str, str] = {}
    for pattern in patterns:
        found.update(_expand(pattern, Path(folder).resolve()))
    if not found:
        raise InputError("data.raw names no file.", fix='give data.raw, such as ["raw/*.csv"].')
    sources = []
    for index, name in enumerate(sorted(found)):
        try:
            sources.append(_look_at(index, name, found[name], csv_settings))
        except InputError as error:
            if on_bad_file == "fail":
                raise
            bad = Location(name, found[name])
            sources.append(Source(index, bad, 0, "csv", (), csv_settings, fault=error.message))
    conflicts = _conflicting(sources)
    return tuple(replace(s, as_text=conflicts & set(s.columns)) for s in sources)


def _expand(pattern: str, folder: Path) -> dict[str, str]:
    """Return names to paths or URLs."""
    if "://" in pattern:
        found = {url: url for url in _expand_url(pattern)}
    else:
        exact = os.path.exists(folder / pattern)  # a name may hold glob's own characters
        matches = [pattern] if exact else glob.glob(pattern, root_dir=folder, recursive=True)
        paths = [os.path.normpath(folder / match) for match in matches]
        files = [path for path in paths if exact or not os.path.isdir(path)]
        found = {Path(os.path.relpath(path, folder)).as_posix(): path for path in files}
    if found:
        return found
    raise InputError(
        f"data.raw: nothing matches {pattern!r} in {folder}.",
        fix="correct the pattern; it is relative to that folder.",
        pattern=pattern,
    )


def _expand_url(pattern: str) -> list[str]:
    import fsspec  # 0.15 s, for whom needs it

    protocol = pattern.partition("://")[0]
    try:
        filesystem, path = fsspec.core.url_to_fs(pattern)
        if not glob.has_magic(path):
            return [pattern] if filesystem.exists(path) else []
        return [filesystem.unstrip_protocol(match) for match in filesystem.glob(path)]
    except (ImportError, ValueError) as error:
        raise InputError(
            f"data.raw: {pattern!r} cannot be opened: {error}.",
            fix=f"install the fsspec driver for {protocol}://.",
            pattern=pattern,
        ) from None
    except OSError as error:
        raise InputError(
            f"data.raw: {pattern!r} cannot be reached: {error}.",
            fix="mend the address or its credentials.",
            pattern=pattern,
        ) from error


def _look_at(index: int, name: str, url: str, settings: CsvSettings) -> Source:
    """Describe one file by its name, its status and its header."""
    size, modified = _status(name, url)
    location, format_, suffix = _classify(name, url)
    if size == 0:
        raise InputError(f"{name} is empty.", fix="remove it from data.raw.", file=name)
    delimiter_given = "delimiter" in settings.model_fields_set
    if suffix == ".tsv" and not delimiter_given:
        settings = settings.model_copy(update={"delimiter": "\t"})
    source = Source(index, location, size, format_, (), settings, modified=modified)
    if format_ == "csv":
        encoding, mark = find_encoding(location, settings.encoding)
        location = replace(location, encoding=encoding, start=mark)
        header = read_header(location, settings)
        source = replace(source, location=location, data_start=header.stop, first_row=header.row)
        source = replace(source, columns=header.columns, repeated=header.repeated)
    elif format_ == "jsonl":
        encoding, mark = find_encoding(location, "utf-8")
        location = replace(location, encoding=encoding, start=mark)
        source = replace(source, location=location, columns=read_keys(location))
    else:
        names, types = read_types(location)
        columns = name_columns(names)
        source = replace(source, columns=columns, repeated=list_repeated(names))
        source = replace(source, types=tuple(zip(columns, types, strict=True)))
    return replace(source, content_hash=hash_content(location))


def _classify(name: str, url: str) -> tuple[Location, Format, str]:
    path = name.partition("?")[0] if "://" in url else name
    suffixes = PurePosixPath(path.lower()).suffixes
    packed = suffixes[-1:] == [".gz"]
    suffix = suffixes[-2 if packed else -1] if len(suffixes) > packed else ""
    format_ = FORMATS.get(suffix)
    if format_ is None or (packed and format_ == "parquet"):
        known = ", ".join(FORMATS)
        raise InputError(
            f"{name}: a file of an unknown format.",
            expected=f"one of {known}; text also with .gz",
            got=repr("".join(suffixes[-2:]) or name),
            fix="narrow the pattern in data.raw, or convert the file.",
            file=name,
        )
    return Location(name, url, packed), format_, suffix


def _status(name: str, url: str) -> tuple[int, float | None]:
    """Return size and modification time."""
    try:
        if "://" not in url:
            status = os.stat(url)
            if os.path.isdir(url):
                raise InputError(
                    f"{name} is a folder.",
                    fix=f"name the files in it, such as {name}/*.csv.",
                    file=name,
                )
            return status.st_size, status.st_mtime
        import fsspec

        filesystem, path = fsspec.core.url_to_fs(url)
        return int(filesystem.info(path)["size"] or 0), None
    except OSError as error:
        raise InputError(
            f"{name} cannot be read: {error.strerror or error}.",
            fix="mend the path or its permissions.",
            file=name,
        ) from error


def _conflicting(sources: Sequence[Source]) -> frozenset[str]:
    """Return the columns whose type is not the same in all files that hold them."""
    kinds: dict[str, set[str]] = {}
    for source in sources:
        types = dict(source.types)
        for column in source.columns:
            kinds.setdefault(column, set()).add(types.get(column, "string"))
    return frozenset(column for column, found in kinds.items() if len(found) > 1)
