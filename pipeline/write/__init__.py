"""Parquet and TFRecord shards, quarantine and repairs."""

from pipeline.write.accounts import nest_reasons, source_names, write_repairs
from pipeline.write.parquet import write_parquet
from pipeline.write.shard import write_shard

__all__ = ["nest_reasons", "source_names", "write_parquet", "write_repairs", "write_shard"]
