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
from pipeline.load.faults import keep_fault
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
        SettingsError: No table can be written as `csv_settings` says.
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
        source = Source(index, Location(name, found[name]), 0, "unknown", (), csv_settings)
        with keep_fault(on_bad_file) as faults:  # of a bad file, as much as can be told
            source = _add_status(source)
            source = _add_format(source)
            source = _add_columns(source)
        sources.append(replace(source, fault="".join(faults)))
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


def _add_status(source: Source) -> Source:
    """Add size and modification time."""
    name, url = source.name, source.location.url
    try:
        if "://" in url:
            import fsspec

            filesystem, path = fsspec.core.url_to_fs(url)
            size, modified = int(filesystem.info(path)["size"] or 0), None
        else:
            status = os.stat(url)
            size, modified = status.st_size, status.st_mtime
            if os.path.isdir(url):
                raise InputError(
                    f"{name} is a folder.",
                    fix=f"name the files in it, such as {name}/*.csv.",
                    file=name,
                )
    except OSError as error:
        raise InputError(
            f"{name} cannot be read: {error.strerror or error}.",
            fix="mend the path or its permissions.",
            file=name,
        ) from error
    return replace(source, size=size, modified=modified)


def _add_format(source: Source) -> Source:
    """Add what the name says: the format, gzip, and the tabs of `.tsv`."""
    name, csv = source.name, source.csv
    path = name.partition("?")[0] if "://" in source.location.url else name
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
    if suffix == ".tsv" and "delimiter" not in csv.model_fields_set:
        csv = csv.model_copy(update={"delimiter": "\t"})
    return replace(source, location=replace(source.location, gzip=packed), format=format_, csv=csv)


def _add_columns(source: Source) -> Source:
    """Add what stands in the file: its header, its encoding and its hash."""
    location = source.location
    if source.size == 0:
        raise InputError(
            f"{source.name} is empty.", fix="remove it from data.raw.", file=source.name
        )
    if source.format == "parquet":
        names, types = read_types(location)
        columns = name_columns(names)
        source = replace(source, columns=columns, repeated=list_repeated(names))
        source = replace(source, types=tuple(zip(columns, types, strict=True)))
        return replace(source, content_hash=hash_content(location))
    declared = source.csv.encoding if source.format == "csv" else "utf-8"
    encoding, mark = find_encoding(location, declared)
    location = replace(location, encoding=encoding, start=mark)
    source = replace(source, location=location)
    if source.format == "csv":
        header = read_header(location, source.csv)
        source = replace(source, data_start=header.stop, first_row=header.row)
        source = replace(source, columns=header.columns, repeated=header.repeated)
    else:
        source = replace(source, columns=read_keys(location))
    return replace(source, content_hash=hash_content(location))


def _conflicting(sources: Sequence[Source]) -> frozenset[str]:
    """Return the columns whose type is not the same in all files that hold them."""
    kinds: dict[str, set[str]] = {}
    for source in sources:
        types = dict(source.types)
        for column in source.columns:
            kinds.setdefault(column, set()).add(types.get(column, "string"))
    return frozenset(column for column, found in kinds.items() if len(found) > 1)
