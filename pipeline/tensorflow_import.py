"""TensorFlow, if it is installed, and without its greetings."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from pipeline.errors import UsageError


def require_tensorflow(otherwise: str = "") -> None:
    """Check that the training stage can be imported, without importing it.

    Args:
        otherwise: What can be done without it.

    Raises:
        UsageError: TensorFlow is not installed.
    """
    if find_spec("tensorflow") is None:
        raise UsageError(
            "training needs TensorFlow, which is not installed.",
            fix='install the extra, "nanproof[train]"'
            + (f", or {otherwise}." if otherwise else "."),
        )


@contextmanager
def silence_import() -> Iterator[None]:
    """Hold back what native code writes to stderr; say it after all if something is raised.

    TensorFlow logs lines about the machine when it is imported and when it first looks for
    devices, before its own verbosity setting is read.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
