"""What loss and gradient norm usually are, kept on the device, so that an explosion shows early.

The usual size is a median, which one wild step cannot move, and only steps that were made enter:
nothing non-finite ever does. No variable here is a weight of the model; save and load do not see
them.
"""

from __future__ import annotations

import tensorflow as tf

from pipeline.guard.batch import Tensor
from pipeline.guard.settings import GuardSettings

# An exploding norm is compared with that of about 32 steps before: 1.24 times a step is seen.
WINDOW = 64
_UNLIMITED = tf.float32.max


class Usual:
    """The last good steps' losses and gradient norms, and the limits that follow from them.

    Args:
        settings: The guard's.

    Attributes:
        limits: float32 `(3,)`: the greatest loss and gradient norm that are no explosion, and the
            norm to clip to.
    """

    def __init__(self, settings: GuardSettings) -> None:
        # A squared loss grows as the square of its gradient.
        ratios = [settings.explosion_ratio**2, settings.explosion_ratio]
        self._ratios = tf.constant(ratios, tf.float32)
        self._clip = tf.constant([settings.clip or _UNLIMITED], tf.float32)
        # Loss, then norm; the newest first.
        self._recent = tf.Variable(tf.zeros([2, WINDOW]), trainable=False)
        self._count = tf.Variable(0, trainable=False)
        self._highest = tf.Variable(tf.zeros([2]), trainable=False)
        self.limits = tf.Variable(tf.fill([3], _UNLIMITED), trainable=False)

    @property
    def variables(self) -> list[tf.Variable]:
        """All that is known, as variables."""
        return [self._recent, self._count, self._highest, self.limits]

    def push(self, loss: Tensor, norm: Tensor, made: Tensor) -> None:
        """Take in a step, both float32 scalars, if it was made; the limits follow."""
        newest = tf.stack([loss, norm])[:, tf.newaxis]
        recent = tf.concat([newest, self._recent[:, :-1]], axis=1)
        count = tf.minimum(self._count + 1, WINDOW)
        median = _median(tf.abs(recent), count)
        # At a loss near 0 a step as rough as the first ones is no explosion.
        highest = tf.maximum(self._highest, median)
        sizes = tf.concat([highest * self._ratios, median[1:] * self._clip], axis=0)
        # Of a size of 0 there are no multiples.
        limits = tf.where(sizes > 0.0, sizes, _UNLIMITED)
        for variable, value in zip(self.variables, (recent, count, highest, limits), strict=True):
            # No branch: within XLA one would cost more than what it saves.
            variable.assign(tf.where(made, value, variable))

    def forget(self) -> None:
        """Start anew, where the state or the rate is another one."""
        self._count.assign(0)
        self._highest.assign(tf.zeros([2]))
        self.limits.assign(tf.fill([3], _UNLIMITED))

    def recent(self) -> Tensor:
        """Give the losses and norms of the last good steps, float32 `(2, count)`, newest first."""
        return self._recent[:, : self._count]


def _median(sizes: Tensor, count: Tensor) -> Tensor:
    """Give the lower median of the first `count` columns."""
    known = tf.where(tf.range(WINDOW) < count, sizes, -1.0)
    # A slice by a number that XLA does not know would be compiled anew for each number.
    return tf.gather(tf.math.top_k(known, WINDOW).values, count // 2, axis=1)
