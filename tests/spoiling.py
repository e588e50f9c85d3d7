"""A small published dataset, and ways to spoil it: blind ones, and forged ones that fit."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import run_job
from tests.conftest import HEADER, JOB, SCHEMA, make_rows

# One label that is none is set aside, two cells are mended.
TENSOR_SCHEMA = """
import pandera.pandas as pa

Table = pa.DataFrameSchema({
    "weight": pa.Column(float, pa.Check.ge(0)),
    "label": pa.Column(int, pa.Check.isin([0, 1])),
})
"""
DIRTY = HEADER + make_rows(60) + "nan,1,red,0\n5,,red,1\n1,2,red,7\n"


def publish_small(
    folder: Path, csv: str = DIRTY, job: str = JOB, schema: str = SCHEMA, shards: str = "rows = 20"
) -> Path:
    """Publish a dataset of a few shards; return its folder."""
    (folder / "raw").mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    (folder / "table.py").write_text(schema)
    (folder / "job.toml").write_text(f"{job}\n[shards]\n{shards}\n")
    (folder / "raw" / "a.csv").write_text(csv)
    return run_job(folder / "job.toml", until="shards").out


def publish_tensors(folder: Path, layout: str = "row") -> Path:
    """Publish 40 images and a weight each; return the dataset's folder."""
    (folder / "raw").mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    (folder / "table.py").write_text(TENSOR_SCHEMA)
    job = JOB.replace("raw/*.csv", "raw/*.npz").replace("[train]", 'weight = "weight"\n[train]')
    (folder / "job.toml").write_text(f'{job}\n[shards]\nlayout = "{layout}"\nblock_rows = 8\n')
    images = np.arange(40 * 6, dtype=np.uint8).reshape(40, 2, 3, 1)
    rows = np.arange(40)
    np.savez(folder / "raw" / "a.npz", image=images, weight=rows / 40, label=rows % 2)
    return run_job(folder / "job.toml", until="shards").out


def list_own_files(out: Path) -> list[Path]:
    return sorted(path for path in out.rglob("*") if path.is_file() and path.name != ".lock")


def spoil(out: Path, seed: int) -> str:
    """Spoil a dataset in one way out of many; return which."""
    pick = random.Random(seed)
    how = pick.choice(WAYS)
    path = pick.choice(list_own_files(out))
    # Most files are the train split's; the others get their share, too.
    if pick.random() < 0.5:
        path = pick.choice([p for p in list_own_files(out) if p.parent.name != "train"])
    name = path.relative_to(out)
    return f"seed {seed}: {how.__name__} {name} {how(out, path, pick)}"


def flip(out: Path, path: Path, pick: random.Random) -> str:
    data = bytearray(path.read_bytes())
    place, bit = pick.randrange(len(data)), pick.randrange(8)
    data[place] ^= 1 << bit
    path.write_bytes(data)
    return f"byte {place} bit {bit}"


def overwrite(out: Path, path: Path, pick: random.Random) -> str:
    data = bytearray(path.read_bytes())
    first = pick.randrange(len(data))
    last = min(len(data), first + pick.randrange(1, 512))
    data[first:last] = bytes(255 - byte for byte in data[first:last])
    path.write_bytes(data)
    return f"bytes {first} to {last}"


def truncate(out: Path, path: Path, pick: random.Random) -> str:
    size = pick.randrange(path.stat().st_size)
    path.write_bytes(path.read_bytes()[:size])
    return f"to {size}"


def append(out: Path, path: Path, pick: random.Random) -> str:
    more = pick.choice([b"\0", b"\n", b" ", b"{}", pick.randbytes(100), path.read_bytes()])
    path.write_bytes(path.read_bytes() + more)
    return f"{len(more)} bytes"


def swap(out: Path, path: Path, pick: random.Random) -> str:
    others = [p for p in list_own_files(out) if p.read_bytes() != path.read_bytes()]
    other = pick.choice(others)
    left, right = path.read_bytes(), other.read_bytes()
    path.write_bytes(right)
    other.write_bytes(left)
    return f"with {other.relative_to(out)}"


def delete(out: Path, path: Path, pick: random.Random) -> str:
    path.unlink()
    return "gone"


def delete_folder(out: Path, path: Path, pick: random.Random) -> str:
    folder = pick.choice([p for p in out.iterdir() if p.is_dir()])
    shutil.rmtree(folder)
    return f"folder {folder.name}"


def rename(out: Path, path: Path, pick: random.Random) -> str:
    target = _new_place(out, path, pick)
    path.rename(target)
    return f"to {target.relative_to(out)}"


def duplicate(out: Path, path: Path, pick: random.Random) -> str:
    target = _new_place(out, path, pick)
    target.write_bytes(path.read_bytes())
    return f"as {target.relative_to(out)}"


def overwrite_by_another(out: Path, path: Path, pick: random.Random) -> str:
    others = [p for p in list_own_files(out) if p.read_bytes() != path.read_bytes()]
    other = pick.choice(others)
    path.write_bytes(other.read_bytes())
    return f"by {other.relative_to(out)}"


def make_folder(out: Path, path: Path, pick: random.Random) -> str:
    name = pick.choice(["more", "train.old", "train/more", "part-00000"])
    (out / name).mkdir()
    return name


def replace_by_folder(out: Path, path: Path, pick: random.Random) -> str:
    path.unlink()
    path.mkdir()
    return "a folder"


def replace_by_link(out: Path, path: Path, pick: random.Random) -> str:
    copy = out.parent / "elsewhere"
    path.rename(copy)
    path.symlink_to(copy)
    return "a link to the same bytes"


def link_stranger(out: Path, path: Path, pick: random.Random) -> str:
    _new_place(out, path, pick).symlink_to(path)
    return "a link more"


def edit_json(out: Path, path: Path, pick: random.Random) -> str:
    """Edit as a person would: one number, one word or the layout."""
    path = pick.choice([out / name for name in ("manifest.json", "ledger.json", "plan.json")])
    text = path.read_text()
    new = pick.choice(
        [
            text.replace("1", "2", 1),
            text.replace(": 0", ": 1", 1),
            text.replace("red", "rot", 1) if "red" in text else text + " ",
            text.replace("\n", "\r\n"),
            text.replace(" ", "", 1),
            json.dumps(json.loads(text)),
            json.dumps(json.loads(text), indent=2),
            text.replace("true", "false", 1) if "true" in text else text.upper(),
        ]
    )
    assert new != text
    path.write_bytes(new.encode())
    return path.name


def _new_place(out: Path, path: Path, pick: random.Random) -> Path:
    folders = [out, *(p for p in out.iterdir() if p.is_dir())]
    number = pick.randrange(100)
    names = [
        path.name + ".bak",
        f"copy{number}{path.suffix}",
        f".{path.name}",
        path.name.replace("part-0000", "part-1000"),
        path.name.upper(),
    ]
    while (place := pick.choice(folders) / pick.choice(names)).exists():
        names.append(f"{len(names)}{path.name}")
    return place


WAYS: tuple[Callable[[Path, Path, random.Random], str], ...] = (
    *(flip,) * 8, overwrite, overwrite, truncate, truncate, append, append, swap, swap,
    delete, delete_folder, rename, rename, duplicate, duplicate, overwrite_by_another,
    make_folder, replace_by_folder, replace_by_link, link_stranger, edit_json, edit_json,
)  # fmt: skip


def forge_json(out: Path, name: str, edit: Callable[[Any], object]) -> None:
    """Edit `manifest.json`, `ledger.json` or `plan.json`, and make all checksums fit."""
    path = out / name
    document = json.loads(path.read_text())
    edit(document)
    if name != "manifest.json":
        path.write_text(json.dumps(document))
        sign(out)
        return
    document.pop("checksum")
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    document["checksum"] = hashlib.sha256(canonical.encode()).hexdigest()
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def sign(out: Path) -> None:
    """Write the sizes and checksums of the files as they are into the manifest."""

    def describe(value: Any) -> None:
        if isinstance(value, dict):
            if "sha256" in value:
                data = (out / value["path"]).read_bytes()
                value |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for inner in value.values():
                describe(inner)
        elif isinstance(value, list):
            for inner in value:
                describe(inner)

    forge_json(out, "manifest.json", describe)


def forge_table(out: Path, path: Path, edit: Callable[[pa.Table], pa.Table]) -> None:
    """Write a Parquet file anew, and make all checksums fit."""
    pq.write_table(edit(pq.ParquetFile(path).read()), path)
    sign(out)


def with_cell(column: str, row: int, value: object) -> Callable[[pa.Table], pa.Table]:
    """Return an edit that sets one cell."""

    def edit(table: pa.Table) -> pa.Table:
        place = table.column_names.index(column)
        cells = table.column(column).to_pylist()
        cells[row] = value
        field = table.schema.field(column)
        return table.set_column(place, field, pa.array(cells, field.type))

    return edit


def forge_example(out: Path, path: Path, feature: str, row: int, value: bytes) -> None:
    """Set the bytes of one feature of one Example, and make all checksums fit."""
    data = bytearray(path.read_bytes())
    start = 0
    for _ in range(row):
        start += 16 + int.from_bytes(data[start : start + 8], "little")
    size = int.from_bytes(data[start : start + 8], "little")
    record = bytearray(data[start + 12 : start + 12 + size])
    name = feature.encode()
    place = record.index(bytes([10, len(name)]) + name) + 2 + len(name)
    for _ in range(3):  # Feature, its list, the list's packed values: a tag and a length each
        place += 1
        while record[place] & 0x80:
            place += 1
        place += 1
    record[place : place + len(value)] = value
    assert len(record) == size
    data[start + 12 : start + 12 + size] = record
    data[start + 12 + size : start + 16 + size] = struct.pack("<I", masked_crc32c(bytes(record)))
    path.write_bytes(data)
    sign(out)


def masked_crc32c(data: bytes) -> int:
    """Return the checksum of a TFRecord's record, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
