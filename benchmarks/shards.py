"""Shards written and read, each beside how people do it today: both halves in one run.

    python benchmarks/shards.py

Each half, with settings of its own, is a script too: shards_write.py and shards_read.py.
"""

from __future__ import annotations

import shards_read
import shards_write

if __name__ == "__main__":
    shards_write.main()
    shards_read.main()
