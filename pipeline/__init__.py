"""Training data that cannot turn a loss into NaN, and training that survives what slips through.

Names load when they are first used: neither `import pipeline` nor anything up to the shards
imports TensorFlow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline.tensorflow_import import require_tensorflow

if TYPE_CHECKING:
    from pipeline.feed import read_shards
    from pipeline.frame import validate_frame
    from pipeline.guard import guarded
    from pipeline.run import check_job, run_job
    from pipeline.train import train_dataset
    from pipeline.verify import verify_dataset
    from pipeline.write import write_examples

__all__ = [
    "check_job",
    "guarded",
    "read_shards",
    "run_job",
    "train_dataset",
    "validate_frame",
    "verify_dataset",
    "write_examples",
]

_MODULES = {
    "check_job": "pipeline.run",
    "guarded": "pipeline.guard",
    "read_shards": "pipeline.feed",
    "run_job": "pipeline.run",
    "train_dataset": "pipeline.train",
    "validate_frame": "pipeline.frame",
    "verify_dataset": "pipeline.verify",
    "write_examples": "pipeline.write",
}


_NEED_TENSORFLOW = frozenset({"guarded", "read_shards", "train_dataset"})


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
    if name in _NEED_TENSORFLOW:
        require_tensorflow()
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
