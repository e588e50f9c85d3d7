"""Write the weather example: clean observations of a latent storm, then faults as life has them.

`python data/weather/generate.py` rewrites `raw/*.csv` byte for byte and prints the table of
faults that stands in README.md. Only numpy and pandas are needed.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd

SEED = 2025
NUM_REGIONS = 6
STATIONS_PER_REGION = 12
DAYS = pd.date_range("2025-01-01", "2025-06-30", freq="D") + pd.Timedelta(hours=6)
COMPASS = "N NNE NE ENE E ESE SE SSE S SSW SW WSW W WNW NW NNW".split()
PLACES = "Airfield,Harbour,Upper Fell,Mill,Reservoir,Lighthouse,Priory,Quarry,Pass,Weir,Moor,Lodge"
NOTES = ("", "", "", "", "", "", "haze", "dew on grass", "gusts, then calm", "gauge emptied")
CELLS = ("temperature_c", "humidity_pct", "pressure_hpa", "wind_speed_ms", "wind_gust_ms")
# NEP 19 freezes RandomState's streams, so any numpy writes the same files.
Random = np.random.RandomState


def observe(random: Random) -> pd.DataFrame:
    """Return clean observations as text, by day and then by station.

    A region's storminess is an AR(1) process. Pressure, humidity and cloud answer to tomorrow's
    storminess, rain to today's: so today's reading foretells `rain_tomorrow`.
    """
    num_stations = NUM_REGIONS * STATIONS_PER_REGION
    shape = (len(DAYS), num_stations)
    storm = np.zeros((len(DAYS) + 1, NUM_REGIONS))
    for day in range(1, len(storm)):
        storm[day] = 0.6 * storm[day - 1] + 0.8 * random.standard_normal(NUM_REGIONS)
    local = np.repeat(storm, STATIONS_PER_REGION, axis=1)
    local = local + 0.35 * random.standard_normal(local.shape)
    wet = local > 0.25  # about two days in five
    today, tomorrow = local[:-1], local[1:]

    def noise(scale: float) -> np.ndarray:
        return scale * random.standard_normal(shape)

    warmth = 9.0 - 9.0 * np.cos(2 * np.pi * (DAYS.day_of_year.to_numpy() - 20) / 365)
    climate = np.linspace(-5.0, 5.0, num_stations)
    speed = np.clip(4.0 + 1.8 * today + noise(1.6), 0.0, 40.0)
    gust = speed * (1.5 + 0.2 * np.abs(noise(1.0)))
    rain = np.where(wet[:-1], 0.2 + random.gamma(1.2, 4.0, shape), 0.0)
    # Storms come from the south west (10 sixteenths), fair weather from the north east.
    direction = np.rint(np.where(tomorrow > 0, 10, 2) + noise(2.5)).astype(int) % 16
    columns = {
        "observed_at": np.repeat(DAYS.strftime("%Y-%m-%d %H:%M"), num_stations),
        "station": [f"ST{n:02d}" for n in range(num_stations)] * len(DAYS),
        "station_name": [
            f"{place} {n}" for n in range(NUM_REGIONS) for place in PLACES.split(",")
        ] * len(DAYS),
        "temperature_c": _fixed(warmth[:, None] + climate - 1.2 * today + noise(2.0), 1),
        "humidity_pct": _fixed(np.clip(68 + 11 * tomorrow + noise(6.0), 5, 100), 0),
        "pressure_hpa": _fixed(1014 - 8.5 * tomorrow + noise(3.5), 1),
        "wind_speed_ms": _fixed(speed, 1),
        # A gust is reported only where one was felt.
        "wind_gust_ms": np.where(speed > 4.0, _fixed(gust, 1).reshape(shape), "").ravel(),
        "rain_mm": _fixed(rain, 1),
        "cloud_oktas": _fixed(np.clip(np.rint(4 + 2.2 * tomorrow + noise(1.4)), 0, 8), 0),
        "thunder": np.where((today > 1.2) & (noise(1.0) > 0.3), "true", "false").ravel(),
        "wind_dir": np.array(COMPASS)[direction].ravel(),
        "observer_note": np.array(NOTES)[random.randint(0, len(NOTES), shape)].ravel(),
        "rain_tomorrow": wet[1:].astype(int).astype(str).ravel(),
    }  # fmt: skip
    return pd.DataFrame(columns).astype(object)


def _fixed(values: np.ndarray, digits: int) -> np.ndarray:
    return np.char.mod(f"%.{digits}f", np.round(values, digits) + 0.0).ravel()


class Spoiler:
    """Spoils rows, each at most once, and keeps the account of it."""

    def __init__(self, table: pd.DataFrame, random: Random) -> None:
        self.table = table
        self.account: list[tuple[str, str, int]] = []
        # Whole stations and months are spoiled too; they are kept out of the draw.
        free = table.index[~table["station"].isin(["ST23", "ST41", "ST12"])].to_numpy()
        self._order = random.permutation(free)

    def draw(self, count: int) -> np.ndarray:
        """Return so many rows that nothing has been done to."""
        drawn, self._order = self._order[:count], self._order[count:]
        return np.sort(drawn)

    def put(self, fault: str, what: str, column: str, text: str, count: int) -> None:
        """Write one text into a column of so many rows."""
        self.table.loc[self.draw(count), column] = text
        self.note(fault, what, count)

    def note(self, fault: str, what: str, count: int) -> None:
        """Enter a fault into the account."""
        self.account.append((fault, what, count))


def spoil_cells(spoiler: Spoiler) -> None:
    """Put wrong text into single cells."""
    put = spoiler.put
    # Loggers write a number that no thermometer shows when they have no reading.
    put("sentinel -999", "`temperature_c` is -999: no reading", "temperature_c", "-999", 40)
    put("sentinel -200", "`humidity_pct` is -200: no reading", "humidity_pct", "-200", 30)
    # The message came without the field.
    put("blank pressure", "`pressure_hpa` is empty", "pressure_hpa", "", 60)
    put("blank direction", "`wind_dir` is empty", "wind_dir", "", 10)
    # A script upstream computed 0/0, or printed a float that it had failed to fill.
    put("nan text", "`temperature_c` is `nan`", "temperature_c", "nan", 25)
    put("NaN text", "`humidity_pct` is `NaN`", "humidity_pct", "NaN", 15)
    # A pulse counter divided by a period of zero.
    put("inf text", "`wind_speed_ms` is `inf`", "wind_speed_ms", "inf", 12)
    put("-Infinity text", "`pressure_hpa` is `-Infinity`", "pressure_hpa", "-Infinity", 5)
    # Finite in float64, infinite as soon as training casts it to float32.
    put("float32 overflow", "`rain_mm` is 1e39", "rain_mm", "1e39", 3)
    # People write words where a number belongs.
    put("N/A text", "`cloud_oktas` is `N/A`", "cloud_oktas", "N/A", 20)
    put("word for a number", "`rain_mm` is `trace`", "rain_mm", "trace", 18)
    put("unit in the cell", "`wind_speed_ms` is `7 m/s`", "wind_speed_ms", "7 m/s", 9)
    put("decimal comma", "`temperature_c` is `12,4`, quoted", "temperature_c", "12,4", 10)
    put("word for a bool", "`thunder` is `yes`", "thunder", "yes", 5)
    # WMO code 2700 has a 9 for "sky not visible": a code, not nine eighths of cloud.
    put("code for a count", "`cloud_oktas` is 9: sky not visible", "cloud_oktas", "9", 25)
    put("code for a direction", "`wind_dir` is `VRB`: variable", "wind_dir", "VRB", 14)
    # An anemometer's zero drifts below zero, and a spark counts as a storm.
    put("zero drift", "`wind_speed_ms` is -0.2", "wind_speed_ms", "-0.2", 30)
    put("spike", "`wind_speed_ms` is 468.5", "wind_speed_ms", "468.5", 3)
    # The label is typed by hand: a slip of the finger, or forgotten.
    put("label out of range", "`rain_tomorrow` is 2", "rain_tomorrow", "2", 7)
    put("label missing", "`rain_tomorrow` is empty", "rain_tomorrow", "", 11)
    put("no station", "`station` is empty", "station", "", 8)


def spoil_stretches(spoiler: Spoiler) -> None:
    """Spoil what a broken or changed instrument spoils: many cells of one station."""
    table = spoiler.table
    month = table["observed_at"].str[:7]
    # A new logger was set up in Fahrenheit. Below 56.7 it passes for Celsius: no bound sees that.
    fahrenheit = (table["station"] == "ST23") & (month == "2025-06")
    celsius = table.loc[fahrenheit, "temperature_c"].astype(float).to_numpy()
    table.loc[fahrenheit, "temperature_c"] = _fixed(celsius * 9 / 5 + 32, 1)
    spoiler.note("Fahrenheit", "`temperature_c` of ST23 in June", int(fahrenheit.sum()))
    # A barometer was replaced by one that shows inches of mercury.
    inches = (table["station"] == "ST41") & (month == "2025-03")
    hpa = table.loc[inches, "pressure_hpa"].astype(float).to_numpy()
    table.loc[inches, "pressure_hpa"] = _fixed(hpa / 33.8639, 2)
    spoiler.note("inHg", "`pressure_hpa` of ST41 in March", int(inches.sum()))
    # A hygrometer sticks. Each value is possible, so no rule on rows can see it.
    stuck = (table["station"] == "ST12") & month.isin(["2025-04", "2025-05"])
    table.loc[stuck, "humidity_pct"] = "63"
    spoiler.note("stuck sensor", "`humidity_pct` of ST12 is 63, April and May", int(stuck.sum()))
    # The mast lost its power: every instrument says so in its own way.
    dead = spoiler.draw(6)
    table.loc[dead, [*CELLS, "rain_mm"]] = "-999"
    table.loc[dead, ["cloud_oktas", "wind_dir"]] = ""
    spoiler.note("dead mast", "six readings are -999, two are empty", len(dead))
    # A logger that loses its battery starts again in 1970.
    reset = spoiler.draw(5)
    table.loc[reset, "observed_at"] = "1970-01-01 00:00"
    spoiler.note("clock reset", "`observed_at` is in 1970", len(reset))


def render_lines(spoiler: Spoiler) -> dict[str, list[str]]:
    """Return the lines of each month, with the faults that a line has rather than a cell."""
    table = spoiler.table
    lines = {row: _line(cells) for row, cells in zip(table.index, table.to_numpy(), strict=True)}
    # A file was sent twice in part: the same line again.
    for row in spoiler.draw(45):
        lines[row] += lines[row]
    spoiler.note("duplicated row", "the line stands there twice", 45)
    # The connection broke off in the middle of a line.
    for row in spoiler.draw(9):
        lines[row] = ",".join(lines[row].split(",")[:6]) + "\n"
    spoiler.note("too few fields", "the line ends after six fields", 9)
    # A decimal comma without quotes makes one field two.
    for row in spoiler.draw(6):
        lines[row] = lines[row].replace(".", ",", 1)
    spoiler.note("too many fields", "an unquoted decimal comma", 6)
    # Somebody began to quote a note and did not end it.
    for row in spoiler.draw(4):
        lines[row] = _line([*table.loc[row].iloc[:-2], "STRAY", "1"]).replace("STRAY", '"sleet')
    spoiler.note("stray quote", "a quote is opened and not closed", 4)
    # Rows of 1970 stay in the file of the day that they came with.
    months = np.repeat(DAYS.strftime("%Y-%m"), len(table) // len(DAYS))
    header = _line(table.columns)
    files: dict[str, list[str]] = {month: [header] for month in sorted(set(months))}
    for month, line in zip(months, lines.values(), strict=True):
        files[month].append(line)
    # One month was exported by a program that pads its header.
    files["2025-04"][0] = header.replace(",", " ,  ")
    spoiler.note("padded header", "spaces around the names in 2025-04.csv", 1)
    return files


def _line(cells: object) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)  # type: ignore[call-overload]
    return text.getvalue()


def generate(folder: Path) -> list[tuple[str, str, int]]:
    """Write a CSV for each month into `folder`; return (fault, what, count) of every fault."""
    random = Random(SEED)
    spoiler = Spoiler(observe(random), random)
    spoil_cells(spoiler)
    spoil_stretches(spoiler)
    folder.mkdir(parents=True, exist_ok=True)
    for month, lines in render_lines(spoiler).items():
        (folder / f"{month}.csv").write_bytes("".join(lines).encode())
    return spoiler.account


def main() -> None:
    """Write the files and print the table of faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "raw")
    for fault, what, count in generate(parser.parse_args().out):
        print(f"| {fault} | {what} | {count} |")


if __name__ == "__main__":
    main()
