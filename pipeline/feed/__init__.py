"""Published shards as a `tf.data.Dataset`."""

from pipeline.feed.examples import describe_features
from pipeline.feed.read import read_shards

__all__ = ["describe_features", "read_shards"]
