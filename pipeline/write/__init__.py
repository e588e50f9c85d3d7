"""Parquet and TFRecord shards, quarantine and repairs.

shard.py       one shard in the formats asked for
parquet.py     a table as Parquet
tfrecord.py    rows as TFRecord
layout.py      how its records are laid out
crc32c.py      their checksums
decode.py      and back
accounts.py    quarantine and repairs
files.py       files that know their checksum
"""

from pipeline.write.accounts import nest_reasons, source_names, write_repairs
from pipeline.write.decode import decode_examples
from pipeline.write.parquet import write_parquet
from pipeline.write.shard import write_shard

__all__ = [
    "decode_examples",
    "nest_reasons",
    "source_names",
    "write_parquet",
    "write_repairs",
    "write_shard",
]
