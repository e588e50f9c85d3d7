"""Learn fills on the train split; impute, clip or drop."""

from pipeline.repair.apply import TOO_MANY_REPAIRS, Decision, Repaired, apply_plan, decide
from pipeline.repair.bounds import clip_bounds, legal_bounds, list_range_rules
from pipeline.repair.plan import (
    ColumnPlan,
    LabelPlan,
    Plan,
    TensorPlan,
    plan_column,
    plan_label,
    policy_of,
)
from pipeline.repair.statistics import Summary, merge, points_per_column, summarize
from pipeline.repair.tensors import merge_tensors, plan_tensor, summarize_tensors

__all__ = [
    "TOO_MANY_REPAIRS",
    "ColumnPlan",
    "Decision",
    "LabelPlan",
    "Plan",
    "Repaired",
    "Summary",
    "TensorPlan",
    "apply_plan",
    "clip_bounds",
    "decide",
    "legal_bounds",
    "list_range_rules",
    "merge",
    "merge_tensors",
    "plan_column",
    "plan_label",
    "plan_tensor",
    "points_per_column",
    "policy_of",
    "summarize",
    "summarize_tensors",
]
