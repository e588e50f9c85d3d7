"""Raw files to batches: tables, arrays and images, each row with its id and its place."""

from pipeline.load.batches import read_partition, read_records
from pipeline.load.cells import parse_texts
from pipeline.load.columns import Table, check_columns
from pipeline.load.faults import keep_fault
from pipeline.load.opening import Location
from pipeline.load.partitions import Partition, plan_partitions
from pipeline.load.reading import Reading
from pipeline.load.source import Source
from pipeline.load.sources import list_sources
from pipeline.load.typed import convert_array

__all__ = [
    "Location",
    "Partition",
    "Reading",
    "Source",
    "Table",
    "check_columns",
    "convert_array",
    "keep_fault",
    "list_sources",
    "parse_texts",
    "plan_partitions",
    "read_partition",
    "read_records",
]
