"""Columns of which a whole-dataset rule lets no blank be filled."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import SettingsError
from pipeline.load import Source
from pipeline.run.setup import Setup
from pipeline.schema import ColumnSchema
from pipeline.whole import MONOTONIC, list_keys, list_orders


def refuse_blank_keys(setup: Setup, sources: Sequence[Source]) -> None:
    """Refuse a feature that may be blank where a rule of the whole dataset is about its values.

    A valid blank is filled by one value for training, which would repeat another row's key, or
    step back in an order: the published shards would break the schema.

    Raises:
        SettingsError: There is such a feature.
    """
    rules = {name: MONOTONIC for name, _ in list_orders(setup.schema)}
    rules |= {name: "unique" for key in list_keys(setup.schema) for name in key}
    for name in setup.features:
        if name in rules and _may_be_blank(setup.schema[name], sources):
            raise SettingsError(
                f"the feature {name!r} may be blank, and {rules[name]} is asked of its values: "
                "whatever fills a blank may break that rule.",
                expected="a column without blanks, or no feature",
                fix=f'add "{name}" to data.ignore, or make it neither nullable nor optional in the '
                "schema: then rows without it are quarantined.",
                column=name,
                rule=rules[name],
            )


def _may_be_blank(column: ColumnSchema, sources: Sequence[Source]) -> bool:
    if column.default is not None and not column.parses:
        return False
    absent = any(column.name not in source.columns for source in sources if not source.fault)
    return column.nullable or absent
