"""The raw files of a job: which they are, in which order, and what their headers say."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

from pipeline.errors import InputError
from pipeline.job import CsvSettings, ImageSettings
from pipeline.load import idx, image_folder
from pipeline.load.arrays import add_arrays
from pipeline.load.faults import keep_fault
from pipeline.load.header import check_settings, list_repeated, name_columns, read_header
from pipeline.load.images import add_images
from pipeline.load.json_lines import read_keys
from pipeline.load.opening import (
    Location,
    check_regular,
    escape_path,
    find_encoding,
    hash_content,
)
from pipeline.load.parquet import read_types
from pipeline.load.pixels import require_pillow
from pipeline.load.source import Format, Source

FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".npy": "npy",
    ".npz": "npz",
}


def list_sources(
    patterns: Sequence[str],
    folder: Path | str,
    csv_settings: CsvSettings,
    on_bad_file: Literal["fail", "quarantine"] = "fail",
    image_settings: ImageSettings | None = None,
) -> tuple[Source, ...]:
    """List raw files and read their headers.

    Args:
        patterns: Paths and globs relative to `folder`, and fsspec URLs. A folder, or a glob of
            image files, is one source.
        folder: Where the job file lies.
        csv_settings: How delimited text is written; `.tsv` has tabs unless a delimiter is given.
        image_settings: How image files are decoded.
        on_bad_file: "quarantine" to mark a file that cannot be read by its `fault`.

    Raises:
        SettingsError: No table can be written as `csv_settings` says.
        InputError: Nothing matches, a name is not UTF-8, a format is unknown, or a file is empty
            or unreadable.
        UsageError: There are image files, and Pillow is not installed.
    """
    check_settings(csv_settings)
    folder = Path(folder).resolve()
    matched, left_out = _expand_all(patterns, folder)
    if any(matched.values()):
        require_pillow()
    found = {_name(url, folder): url for url in matched}
    if not found:
        raise InputError("data.raw names no file.", fix='give data.raw, such as ["raw/*.csv"].')
    sources = []
    for index, name in enumerate(sorted(found)):
        source = Source(index, Location(name, found[name]), 0, "unknown", (), csv_settings)
        source = replace(
            source,
            images=image_settings or ImageSettings(),
            files=matched[found[name]],
            left_out=left_out.get(found[name], 0),
        )
        with keep_fault(on_bad_file) as faults:  # of a bad file, as much as can be told
            source = _add_status(source)
            source = _add_format(source)
            source = _add_columns(source)
        sources.append(replace(source, fault="".join(faults)))
    conflicts = _conflicting(sources)
    return tuple(replace(s, as_text=conflicts & set(s.columns)) for s in sources)


def _name(url: str, folder: Path) -> str:
    if "://" in url:
        return url
    name = Path(os.path.relpath(url, folder)).as_posix()
    escaped = escape_path(name)
    if escaped != name:
        raise InputError(
            f"{escaped}: its name is not UTF-8.", fix="give it another name.", file=escaped
        )
    return name


def _expand_all(
    patterns: Sequence[str], folder: Path
) -> tuple[dict[str, tuple[str, ...]], dict[str, int]]:
    """Return the paths and URLs of the sources, those of image folders to their images.

    The second is how many files of each image folder are no images.
    """
    found: dict[str, tuple[str, ...]] = {}
    images: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    for pattern in patterns:
        paths, inside = _expand(pattern, folder)
        found |= dict.fromkeys(paths, ())
        for top, path in inside:
            (images if image_folder.is_image(path) else others).append((top, path))
    companions = {name for path in found if idx.is_idx(path) for name in idx.name_companions(path)}
    plain = {path: files for path, files in found.items() if path not in companions}
    left_out = {top: len(files) for top, files in image_folder.group_files(others).items()}
    return plain | image_folder.group_files(images), left_out


def _expand(pattern: str, folder: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Return paths or URLs of files, and what is in folders of images, each with its top folder."""
    found: list[str] = []
    inside: list[tuple[str, str]] = []
    if "://" in pattern:
        found += _expand_url(pattern)
    else:
        exact = os.path.exists(folder / pattern)  # a name may hold glob's own characters
        matches = [pattern] if exact else glob.glob(pattern, root_dir=folder, recursive=True)
        above = image_folder.common_folder(pattern, folder)
        for path in (os.path.normpath(folder / match) for match in matches):
            if not os.path.isdir(path):
                top = os.path.dirname(path) if exact else above
                inside += [(top, path)] if image_folder.is_image(path) else []
                found += [] if image_folder.is_image(path) else [path]
            elif exact or pattern.endswith("/"):
                files = image_folder.find_files(path)
                inside += [(path if exact else above, file) for file in files]
                found += [path] if exact and not any(map(image_folder.is_image, files)) else []
    if found or any(image_folder.is_image(path) for _, path in inside):
        return found, inside
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
    if source.files:
        size, latest = image_folder.look_at(source.location, source.files)
        return replace(source, size=size, modified=latest)
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
                    f"{name} is a folder that holds no image file.",
                    fix=f"name the files in it, such as {name}/*.csv, or put images into it.",
                    file=name,
                )
            check_regular(url)
    except OSError as error:
        raise InputError(
            f"{name} cannot be read: {error.strerror or error}.",
            fix="mend the path or its permissions.",
            file=name,
        ) from error
    return replace(source, size=size, modified=modified)


def _add_format(source: Source) -> Source:
    """Add what the name says: the format, gzip, the tabs of `.tsv`, and the labels' file."""
    name, csv = source.name, source.csv
    if source.files:
        return replace(source, format="images")
    if idx.is_idx(name):
        return _add_companion(source)
    path = name.partition("?")[0] if "://" in source.location.url else name
    suffixes = PurePosixPath(path.lower()).suffixes
    packed = suffixes[-1:] == [".gz"]
    suffix = suffixes[-2 if packed else -1] if len(suffixes) > packed else ""
    if image_folder.is_image(path):
        raise InputError(
            f"{name}: images are read from local disks only.",
            fix="copy them, and name the copy's folder in data.raw.",
            file=name,
        )
    format_ = FORMATS.get(suffix)
    if format_ is None or (packed and format_ not in ("csv", "jsonl")):
        known = ", ".join(FORMATS)
        raise InputError(
            f"{name}: a file of an unknown format.",
            expected=f"one of {known}; text also with .gz; images; or IDX images with labels",
            got=repr("".join(suffixes[-2:]) or name),
            fix="narrow the pattern in data.raw, or convert the file.",
            file=name,
        )
    if suffix == ".tsv" and "delimiter" not in csv.model_fields_set:
        csv = csv.model_copy(update={"delimiter": "\t"})
    return replace(source, location=replace(source.location, gzip=packed), format=format_, csv=csv)


def _add_companion(source: Source) -> Source:
    """Add the labels of images in IDX."""
    location = source.location
    for name in idx.name_companions(location.url):
        if "://" in name or os.path.exists(name):
            shown = os.path.join(os.path.dirname(source.name), os.path.basename(name))
            companion = Location(shown, name, gzip=name.endswith(".gz"))
            location = replace(location, gzip=location.url.endswith(".gz"))
            return replace(source, location=location, format="idx", companion=companion)
    raise idx.missing_companion(source.name)


def _add_columns(source: Source) -> Source:
    """Add what stands in the file: its header, its encoding and its hash."""
    location = source.location
    if source.format == "images":
        return add_images(source)
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
    if source.format in ("npy", "npz", "idx"):
        hashes = [hash_content(part) for part in (location, source.companion) if part is not None]
        return replace(add_arrays(source), content_hash="-".join(hashes))
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


def check_tensors(sources: Sequence[Source]) -> None:
    """Refuse files whose tensors are not those of the others; one with a `fault` is left out.

    Raises:
        InputError: A file lacks a tensor, or has it in another dtype.
    """
    sound = [source for source in sources if not source.fault]
    for source in sound[1:]:
        if dict(source.tensors) != dict(sound[0].tensors):
            plain = {source.format, sound[0].format} == {"npy"}
            raise InputError(
                f"{source.name} holds other arrays than {sound[0].name}.",
                expected=_describe_tensors(sound[0]),
                got=_describe_tensors(source),
                fix="give one kind of file in data.raw, or make their arrays alike"
                + (
                    "; columns of one table belong into one file, by numpy.savez." if plain else "."
                ),
                file=source.name,
            )


def _describe_tensors(source: Source) -> str:
    return ", ".join(f"{name} ({dtype})" for name, dtype in source.tensors) or "no array"
