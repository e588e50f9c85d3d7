"""Learn fills on the train split; impute, clip or drop."""

from pipeline.repair.apply import TOO_MANY_REPAIRS, Decision, Repaired, apply_plan, decide
from pipeline.repair.bounds import legal_bounds, list_range_rules
from pipeline.repair.plan import (
    ColumnPlan,
    LabelPlan,
    Plan,
    plan_column,
    plan_label,
    policy_of,
)
from pipeline.repair.statistics import Summary, merge, points_per_column, summarize

__all__ = [
    "TOO_MANY_REPAIRS",
    "ColumnPlan",
    "Decision",
    "LabelPlan",
    "Plan",
    "Repaired",
    "Summary",
    "apply_plan",
    "decide",
    "legal_bounds",
    "list_range_rules",
    "merge",
    "plan_column",
    "plan_label",
    "points_per_column",
    "policy_of",
    "summarize",
]
