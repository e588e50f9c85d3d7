"""What a text is: a value, missing, NaN, infinite or of another type."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from math import isinf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.arrow import strings
from pipeline.batch import VALUE_DTYPES, Kind
from pipeline.job import DEFAULT_MISSING
from pipeline.load import parse_texts
from tests.reading import (
    INT_MAX,
    INT_MIN,
    KINDS,
    list_cells,
    parse,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_microseconds(moment: datetime) -> int:
    """Return microseconds since 1970; a time without a zone is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    "text", ["0", "-0.0", "+1.5", " 1.5\t", ".5", "5.", "1e3", "1E+3", "1e-400", "007", "\u00a02"]
)
def test_a_float_is_what_python_reads(text: str) -> None:
    assert parse("float", text) == [float(text)]


@pytest.mark.parametrize(
    "text", ["1_0", "1,5", "1 000", "0x1F", "nan(1)", "1e", "--1", "+-1", "1.2.3", "true", "\u0661"]
)
def test_what_is_no_number_is_of_another_type(text: str) -> None:
    assert parse("float", text) == parse("int", text) == ["<type>"]


@pytest.mark.parametrize("text", ["nan", "NaN", "NAN", "-nan", "+nan", " nan "])
@pytest.mark.parametrize("kind", ["float", "int", "bool", "timestamp"])
def test_the_text_nan_is_nan_and_not_missing(kind: Kind, text: str) -> None:
    assert parse(kind, text) == ["<nan>"]


@pytest.mark.parametrize("text", ["inf", "Infinity", "+INF", "1e400", "9" * 400])
@pytest.mark.parametrize(
    ("kind", "largest", "smallest"),
    [("float", np.inf, -np.inf), ("int", INT_MAX, INT_MIN), ("timestamp", INT_MAX, INT_MIN)],
)
def test_an_infinity_holds_the_largest_or_smallest_value(
    kind: Kind, largest: float, smallest: float, text: str
) -> None:
    column = parse_texts(kind, strings([text, "-" + text.lstrip("+")]), ())
    assert list_cells(column) == ["<inf>", "<inf>"]
    assert column.values.tolist() == [largest, smallest]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("+1", 1),
        ("-0", 0),
        ("007", 7),
        ("1.0", 1),
        ("1.", 1),
        ("+2.00", 2),
        (".0", 0),
        ("1e3", 1000),
        ("1.5e1", 15),
        ("120e-1", 12),
        ("9223372036854775807", INT_MAX),
        ("9223372036854775807.0", INT_MAX),
        ("-9223372036854775808", INT_MIN),
        ("0e999999999", 0),
    ],
)
def test_an_int_may_be_written_as_an_integral_decimal(text: str, value: int) -> None:
    assert parse("int", text, "1") == [value, 1]  # alone it may take a faster way
    assert parse("int", text, "junk") == [value, "<type>"]


@pytest.mark.parametrize(
    "text",
    [
        "1.5",
        "12e-1",
        "1e-3",
        "1e19",
        "9223372036854775808",
        "9223372036854775807.5",
        "1e-99999999999999999999",
        "1e-999999999",
    ],
)
def test_an_int_is_never_rounded_or_wrapped(text: str) -> None:
    assert parse("int", text) == ["<type>"]


@pytest.mark.parametrize("text", ["true", "TRUE", "tRuE", " True ", "1"])
def test_true_is_read_in_any_case(text: str) -> None:
    assert parse("bool", text) == [True]


@pytest.mark.parametrize("text", ["false", "FALSE", "fAlSe", "0"])
def test_false_is_read_in_any_case(text: str) -> None:
    assert parse("bool", text) == [False]


@pytest.mark.parametrize("text", ["yes", "t", "2", "1.0", "-1", "inf", "truetrue"])
def test_nothing_else_is_a_bool(text: str) -> None:
    assert parse("bool", text) == ["<type>"]


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-29",
        "1969-12-31T23:59:59.999999",
        "2024-01-01T10",
        "2024-01-01 10:20",
        "2024-01-01T10:20:30.5",
        "2024-01-01T10:20:30,123456",
        "2024-01-01T102030",
        "2024-01-01T10:20:30Z",
        "2024-01-01 10:20:30+02:00",
        "2024-01-01T10:20:30-0130",
        "2024-01-01T00:00:00+05",
        "0001-01-01",
        "9999-12-31T23:59:59.999999",
        " 2024-01-01 ",
    ],
)
def test_a_timestamp_is_what_datetime_reads(text: str) -> None:
    assert parse("timestamp", text) == [to_microseconds(datetime.fromisoformat(text.strip()))]


@pytest.mark.parametrize(
    "text",
    [
        "2023-02-29",
        "2024-13-01",
        "2024-00-01",
        "2024-01-00",
        "0000-01-01",
        "20240101",
        "2024-1-1",
        "01/02/2024",
        "1700000000",
        "2024-01-01T24:00",
        "2024-01-01T23:60",
        "2024-01-01T23:59:60",
        "2024-01-01T10:20:30.1234567",
        "2024-01-01T10:20:30+24:00",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "2024-01-01 noon",
    ],
)
def test_no_other_text_is_a_timestamp(text: str) -> None:
    assert parse("timestamp", text) == ["<type>"]


def test_zeros_beyond_the_microsecond_lose_nothing() -> None:
    whole, same = parse("timestamp", "2024-01-01T00:00:00.123456", "2024-01-01T00:00:00.123456000")
    assert whole == same


def test_a_string_is_stripped_and_kept() -> None:
    assert parse("string", " a b\t", "nan", "inf", "1", "\u00e9") == [
        "a b",
        "nan",
        "inf",
        "1",
        "\u00e9",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_missing_texts_are_matched_stripped_and_exactly(kind: Kind) -> None:
    assert set(parse(kind, "", "  ", "NA", " N/A ", "null", "NULL", None)) == {"<missing>"}
    assert "<missing>" not in parse(kind, "na", "Null", "n/a", "NAN", "NA NA", "None")


@pytest.mark.parametrize("kind", ["float", "int"])
@pytest.mark.parametrize("text", ["-200", "-200.0", "-2e2", " -200 "])
def test_a_number_that_means_missing_is_matched_by_value(kind: Kind, text: str) -> None:
    assert parse(kind, text, "-201", missing=["-200.00"]) == ["<missing>", -201]


def test_a_number_that_means_missing_is_only_a_text_to_other_kinds() -> None:
    assert parse("string", "-200", "-200.0", missing=["-200"]) == ["<missing>", "-200.0"]
    assert parse("bool", "1", "true", missing=["1"]) == ["<missing>", True]


def test_a_large_number_that_means_missing_never_costs_its_neighbour() -> None:
    texts = ["9007199254740992", "9007199254740993"]
    assert parse("int", *texts, missing=texts[1:]) == [2**53, "<missing>"]


@pytest.mark.parametrize("sentinel", [INT_MAX, INT_MIN])
def test_the_ends_of_the_int_range_can_mean_missing(sentinel: int) -> None:
    assert parse("int", f"{sentinel}.0", "1", missing=[str(sentinel)]) == ["<missing>", 1]


@pytest.mark.parametrize("kind", ["float", "int"])
def test_an_infinity_can_mean_missing(kind: Kind) -> None:
    cells = parse(kind, "inf", "Infinity", "1e400", "-inf", missing=["inf"])
    assert cells == ["<missing>", "<missing>", "<missing>", "<inf>"]


def test_nan_can_mean_missing_by_its_own_text_alone() -> None:
    assert parse("float", "nan", "NaN", missing=["nan"]) == ["<missing>", "<nan>"]


def test_a_fraction_that_means_missing_means_nothing_to_an_int() -> None:
    assert parse("int", "0", "0.5", missing=["0.5"]) == [0, "<missing>"]


def test_another_decimal_character_takes_the_place_of_the_point() -> None:
    assert parse("float", "1,5", "1.5", "1", "-,5e1", decimal=",") == [1.5, "<type>", 1.0, -5.0]
    assert parse("int", "1,0", "1.0", "1,5", decimal=",") == [1, "<type>", "<type>"]
    assert parse("float", "-200", "-200,0", missing=["-200,0"], decimal=",") == ["<missing>"] * 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("texts", [[], [None], ["", "NA"], ["junk"]])
def test_cells_that_hold_no_value_hold_the_placeholder(kind: Kind, texts: list[str | None]) -> None:
    column = parse_texts(kind, strings(texts), DEFAULT_MISSING)
    assert len(column) == len(texts)
    if kind != "string":
        assert column.values.dtype == VALUE_DTYPES[kind]
        assert not np.nan_to_num(column.values).any()
        assert kind != "float" or np.isnan(column.values).all()
    elif texts != ["junk"]:
        assert column.values.null_count == len(texts)


@pytest.mark.parametrize("kind", ["float", "int", "bool", "timestamp"])
def test_a_bad_cell_never_costs_its_neighbour_cell(kind: Kind) -> None:
    good = {"float": "1.5", "int": "3", "bool": "true", "timestamp": "2024-01-01"}[kind]
    cells = parse(kind, good, "junk", good, "nan", good, "", good)
    assert cells[1::2] == ["<type>", "<nan>", "<missing>"]
    assert cells[0::2] == parse(kind, good) * 4


@given(
    st.from_regex(
        r"[+-]?([0-9]{1,25}\.?[0-9]{0,9}|\.[0-9]{1,9})([eE][+-]?[0-9]{1,3})?", fullmatch=True
    )
)
@settings(deadline=None)
def test_floats_and_ints_agree_with_python_on_any_number(text: str) -> None:
    number = float(text)
    assert parse("float", text, "x")[0] == ("<inf>" if isinf(number) else number)
    exact = Fraction(text)
    whole = exact.denominator == 1 and INT_MIN <= exact <= INT_MAX
    expected = "<inf>" if isinf(number) else int(exact) if whole else "<type>"
    assert parse("int", text)[0] == expected


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
@settings(deadline=None)
def test_every_finite_float_survives_its_text(numbers: list[float]) -> None:
    assert parse("float", *map(repr, numbers)) == numbers


@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)),
    st.none() | st.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m))),
)
@settings(deadline=None)
def test_every_datetime_survives_its_text(moment: datetime, zone: timezone | None) -> None:
    moment = moment.replace(tzinfo=zone)
    assert parse("timestamp", moment.isoformat()) == [to_microseconds(moment)]


@given(st.text(alphabet="0123456789+-.eEnaifxyINFtrue_ :TZ", max_size=8))
@settings(deadline=None)
def test_no_text_is_read_as_a_number_that_python_does_not_read(text: str) -> None:
    (cell,) = parse("float", text)
    try:
        number = float(text.replace("_", "?"))
    except ValueError:
        assert cell in ("<type>", "<missing>")
    else:
        assert cell == number or cell in ("<nan>", "<inf>")
