"""The rules of the whole dataset, right across partitions and workers.

breaks.py    the rows that break one
unique.py    no key occurs twice
order.py     values grow, or shrink, from row to row
cover.py     every listed value occurs
"""

from pipeline.whole.breaks import Breaks
from pipeline.whole.cover import Seen, Uncovered, find_uncovered, list_seen, not_covered
from pipeline.whole.order import (
    MONOTONIC,
    find_back_steps,
    find_disorder,
    list_orders,
    spill_orders,
)
from pipeline.whole.unique import find_repeats, is_judged, list_keys, name_keys, spill_keys

__all__ = [
    "MONOTONIC",
    "Breaks",
    "Seen",
    "Uncovered",
    "find_back_steps",
    "find_disorder",
    "find_repeats",
    "find_uncovered",
    "is_judged",
    "list_keys",
    "list_orders",
    "list_seen",
    "name_keys",
    "not_covered",
    "spill_keys",
    "spill_orders",
]
