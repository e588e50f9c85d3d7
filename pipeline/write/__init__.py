"""Parquet and TFRecord shards, quarantine and repairs.

shard.py       one shard in the formats asked for
table.py       any Arrow table as TFRecord
parquet.py     a table as Parquet
columns.py     Arrow columns as what an Example can hold
blocks.py      many rows an Example, and back
tfrecord.py    rows as TFRecord
layout.py      how its records are laid out
crc32c.py      their checksums
decode.py      and back
accounts.py    quarantine and repairs
files.py       files that know their checksum
"""

from pipeline.write.accounts import nest_reasons, source_names, write_repairs
from pipeline.write.blocks import decode_shard
from pipeline.write.parquet import write_parquet
from pipeline.write.shard import write_shard
from pipeline.write.table import write_examples

__all__ = [
    "decode_shard",
    "nest_reasons",
    "source_names",
    "write_examples",
    "write_parquet",
    "write_repairs",
    "write_shard",
]
