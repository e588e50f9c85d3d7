"""Random pandera schemas, as schemas and as models, and tables of dirty text to judge by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pandera.pandas as pa

from tests.random_cells import (
    ANNOTATIONS,
    DIRT,
    DTYPES,
    KINDS,
    make_arguments,
    make_clean,
    make_default,
    other_values,
    own_values,
)
from tests.random_functions import (
    FRAME_CHECKS,
    column_parsers,
    element_wise,
    frame_parsers,
    vectorised,
)

REGISTERED = ("oracle_at_least", "oracle_is_not")
Options = dict[str, Any]


@dataclass(frozen=True)
class Spec:
    """A column of a random schema.

    Attributes:
        name: Its name, or a pattern.
        dtype: What its text is read as.
        declared: The dtype that the column itself names.
        order: Whether its values have to grow (True) or to shrink (False); None for neither.
        checks: Attribute of `pandera.Check`, arguments, options.
        custom: Name and options of its own checks.
        parsers: Their names.
    """

    name: str
    dtype: str
    declared: str
    nullable: bool = False
    required: bool = True
    unique: bool = False
    default: Any = None
    order: bool | None = None
    checks: tuple[tuple[str, dict[str, Any], Options], ...] = ()
    custom: tuple[tuple[str, Options], ...] = ()
    parsers: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return KINDS[self.dtype]

    @property
    def is_pattern(self) -> bool:
        return self.name.endswith("*")

    def list_custom(self) -> list[tuple[str, Any, Options]]:
        """Return name, function and options of the column's own checks."""
        found: dict[str, Any] = {**vectorised(self.kind), **element_wise(self.kind)}
        return [
            (name, found[name], {**options, "name": name, "element_wise": name.startswith("e_")})
            for name, options in self.custom
        ]

    def list_parsers(self) -> list[tuple[str, Any, bool]]:
        """Return name, function and whether it is of one cell."""
        known = column_parsers(self.kind)
        return [(name, known[name], name.startswith("c_")) for name in self.parsers]


@dataclass(frozen=True)
class Whole:
    """What a random schema says of whole rows; `parsers` are of the kind of the column `a`."""

    checks: tuple[tuple[str, Options], ...] = ()
    parsers: tuple[tuple[str, Any], ...] = ()
    order: tuple[str, bool] | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A random schema, as it is given and as pandera's plain one, and rows of text."""

    given: Any
    schema: pa.DataFrameSchema
    headers: list[str]
    rows: Sequence[Sequence[str]]


def make_options(pick: Random) -> Options:
    return {"ignore_na": pick.random() < 0.7, "raise_warning": pick.random() < 0.15}


def make_checks(pick: Random, dtype: str, cells: Sequence[str], most: int) -> Any:
    """Return some built-in and registered checks."""
    kind, names = KINDS[dtype], ["eq", "ne", "isin", "notin", "oracle_is_not", "unique_values_eq"]
    if kind != "bool":
        names += ["gt", "ge", "lt", "le", "in_range", "oracle_at_least"]
    if kind == "string":
        names += ["str_matches", "str_contains", "str_startswith", "str_endswith", "str_length"]
    found = []
    for name in pick.sample(names, pick.randint(0, most)):
        arguments = make_arguments(pick, name, own_values(dtype, cells), other_values(dtype))
        options = make_options(pick)
        if name == "unique_values_eq":
            options["ignore_na"] = True  # it is refused without
        if arguments is not None:
            found.append((name, arguments, options))
    return tuple(found)


def build_schema(pick: Random, specs: Sequence[Spec], whole: Whole) -> pa.DataFrameSchema:
    columns = {}
    for spec in specs:
        checks = []
        for name, arguments, options in spec.checks:
            own = {"name": "mine"} if name not in REGISTERED and pick.random() < 0.3 else {}
            checks.append(getattr(pa.Check, name)(**arguments, **options, **own))
        checks += [pa.Check(function, **options) for _, function, options in spec.list_custom()]
        if spec.order is not None:
            checks.append(pa.Check.is_monotonic(spec.name, increasing=spec.order))
        columns[spec.name] = pa.Column(
            DTYPES[spec.declared], checks, nullable=spec.nullable, required=spec.required,
            unique=spec.unique, regex=spec.is_pattern, default=spec.default,
            coerce=pick.random() < 0.3, report_duplicates=whole.facts["report_duplicates"],
            parsers=[pa.Parser(f, element_wise=each, name=n) for n, f, each in spec.list_parsers()],
        )  # fmt: skip
    rows = [pa.Check(FRAME_CHECKS[name], name=name, **options) for name, options in whole.checks]
    if whole.order is not None:
        rows.append(pa.Check.is_monotonic(whole.order[0], increasing=whole.order[1]))
    parsers = [pa.Parser(f, element_wise=n.startswith("c_"), name=n) for n, f in whole.parsers]
    return pa.DataFrameSchema(columns, checks=rows, parsers=parsers, **whole.facts)


def build_model(specs: Sequence[Spec], whole: Whole) -> Any:
    """Return a `DataFrameModel` of the same columns; `report_duplicates` stays "all"."""
    space: dict[str, Any] = {"__annotations__": {}, "__module__": __name__}
    for place, spec in enumerate(specs):
        space |= _model_field(space["__annotations__"], f"field_{place}", spec)
    for name, options in whole.checks:
        space[name] = pa.dataframe_check(_method(name, FRAME_CHECKS[name]), name=name, **options)
    for name, function in whole.parsers:
        decorate = pa.dataframe_parser(element_wise=name.startswith("c_"))
        space[name] = decorate(_method(name, function))
    facts = {key: whole.facts[key] for key in ("unique", "dtype", "strict")}
    space["Config"] = type("Config", (), facts)
    return type("Random", (pa.DataFrameModel,), space)


def _model_field(annotations: dict[str, Any], attribute: str, spec: Spec) -> dict[str, Any]:
    series = pa.typing.Series[ANNOTATIONS[spec.declared]]
    annotations[attribute] = series if spec.required else series | None
    given = {n: next(iter(a.values())) if len(a) == 1 else a for n, a, _ in spec.checks}
    kwargs = {"categories": DTYPES["listed"].categories} if spec.declared == "listed" else None
    options = dict(spec.checks[-1][2]) if spec.checks else {}  # a field has but one set
    if "unique_values_eq" in given:
        options["ignore_na"] = True
    space = {
        attribute: pa.Field(
            alias=spec.name, nullable=spec.nullable, unique=spec.unique, regex=spec.is_pattern,
            default=spec.default, dtype_kwargs=kwargs, **options, **given,
        )
    }  # fmt: skip
    for name, function, options in spec.list_custom():
        method = _method(f"{name}_{attribute}", function)
        space[method.__name__] = pa.check(spec.name, regex=spec.is_pattern, **options)(method)
    for name, function, each in spec.list_parsers():
        method = _method(f"{name}_{attribute}", function)
        space[method.__name__] = pa.parser(spec.name, element_wise=each)(method)
    return space


def _method(name: str, function: Callable[[Any], Any]) -> Any:
    def method(cls: Any, data: Any) -> Any:
        return function(data)

    method.__name__ = name
    return method


def make_column(
    pick: Random, name: str, num_rows: int, whole_dtype: str | None, tidy: bool
) -> tuple[Spec, list[str]]:
    """Return a column of the schema and its cells."""
    declared = pick.choice(list(KINDS))
    dtype = whole_dtype or declared
    kind = KINDS[dtype]
    dirt_ratio = pick.choice([0.0, 0.1] if tidy else [0.0, 0.1, 0.5])
    cells = [
        pick.choice(DIRT) if pick.random() < dirt_ratio else make_clean(pick, kind)
        for _ in range(num_rows if tidy else pick.randint(1, num_rows))
    ]
    custom = [*vectorised(kind), *element_wise(kind)]
    is_ordered = kind in ("float", "int", "timestamp") and pick.random() < 0.2
    parsers = pick.sample(list(column_parsers(kind)), pick.choice([0, 0, 0, 1, 1, 2, 3]))
    spec = Spec(
        name, dtype, declared,
        nullable=pick.random() < 0.5 and not tidy, required=pick.random() < 0.7,
        unique=pick.random() < (0.05 if tidy else 0.2),
        default=make_default(pick, dtype) if pick.random() < 0.3 else None,
        order=pick.random() < 0.8 if is_ordered and name == "a" else None,
        checks=make_checks(pick, dtype, cells, 1 if tidy else 2),
        custom=tuple((n, make_options(pick)) for n in pick.sample(custom, pick.randint(0, 1))),
        parsers=() if name.endswith("*") else tuple(parsers),
    )  # fmt: skip
    return spec, (cells * num_rows)[:num_rows]


def make_label(pick: Random, whole_dtype: str | None) -> Spec:
    return Spec(
        "label", whole_dtype or "int64", "int64",
        nullable=pick.random() < 0.2, default=pick.choice([None, None, None, 0]),
        checks=(("isin", {"allowed_values": [0, 1]}, {}),),
    )  # fmt: skip


def make_table(pick: Random, *, tidy: bool = False) -> Table:
    """Return one to three columns and a label, among them a pattern and what it matches.

    Args:
        pick: The randomness.
        tidy: Whether most rows are to be good, and no column nullable but the label.
    """
    num_rows = pick.randint(6, 15) if tidy else pick.randint(1, 8)
    numbers = ["float64", "float32", "Float64", "int64", "Int64"]
    whole_dtype = pick.choice(numbers) if pick.random() < 0.1 else None
    specs, cells = [], dict[str, list[str]]()
    for name in ["a", "b", "r_.*"][: pick.randint(1, 3)]:
        spec, texts = make_column(pick, name, num_rows, whole_dtype, tidy)
        specs.append(spec)
        if spec.is_pattern:
            cells |= {"r_1": texts, "r_2": pick.sample(texts, num_rows)}
        elif name == "a" or (spec.required and not spec.nullable) or pick.random() < 0.5:
            cells[name] = texts
    specs.append(make_label(pick, whole_dtype))
    labels = ["0", "1", "1.0", "0", "1e0"] * (6 if tidy else 1) + ["2", "nan"]
    cells["label"] = [pick.choice(labels) for _ in range(num_rows)]
    if pick.random() < 0.5:
        cells["unnamed"] = [str(row) for row in range(num_rows)]
    headers = pick.sample(list(cells), len(cells))
    rows = [[cells[name][row] for name in headers] for row in range(num_rows)]
    return Table(*make_schema(pick, specs, whole_dtype, tidy), headers, rows)


def make_schema(
    pick: Random, specs: list[Spec], whole_dtype: str | None, tidy: bool
) -> tuple[Any, pa.DataFrameSchema]:
    checks = pick.sample(sorted(FRAME_CHECKS), pick.randint(0, 1))
    known = frame_parsers(specs[0].kind)
    parsers = pick.sample(list(known), pick.choice([0, 0, 0, 1, 2]))
    keyed = [spec.name for spec in specs if not spec.is_pattern]
    unique = pick.sample(keyed, pick.randint(1, min(2, len(keyed))))
    facts = {
        "unique": unique if pick.random() < (0.1 if tidy else 0.5) else None,
        "dtype": whole_dtype,
        "strict": pick.choice([False, False, "filter"]),
    }
    whole = Whole(
        checks=tuple((name, make_options(pick)) for name in checks),
        parsers=tuple((name, known[name]) for name in parsers),
        order=("label", True) if pick.random() < 0.05 else None,
        facts=facts,
    )
    if pick.random() < 0.5:
        model = build_model(specs, whole)
        return model, model.to_schema()
    facts["report_duplicates"] = pick.choice(["all", "exclude_first", "exclude_last"])
    schema = build_schema(pick, specs, whole)
    return schema, schema
