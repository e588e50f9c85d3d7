"""What a valid hourly report of an airport's weather station is. Bounds are records, not habits.

Records: World Meteorological Organization, World Weather and Climate Extremes Archive; NOAA, State
Climate Extremes Committee. Units are those of American reports.
"""

import pandas as pd
import pandera.pandas as pa

# The strongest gust ever measured: Barrow Island, 10 April 1996, 113.2 m/s.
MAX_WIND_MPH = 253.3


class Report(pa.DataFrameModel):
    """One hour at one of New York's three airports in 2013."""

    origin: str = pa.Field(isin=["EWR", "JFK", "LGA"])
    year: int = pa.Field(isin=[2013])
    month: int = pa.Field(in_range={"min_value": 1, "max_value": 12})
    day: int = pa.Field(in_range={"min_value": 1, "max_value": 31})
    hour: int = pa.Field(in_range={"min_value": 0, "max_value": 23})
    # Fahrenheit; of the United States: Prospect Creek 1971, Furnace Creek 1913.
    temp: float = pa.Field(in_range={"min_value": -80, "max_value": 134})
    # Fahrenheit; Dhahran, 8 July 2003. It is never above the temperature.
    dewp: float = pa.Field(in_range={"min_value": -100, "max_value": 95})
    # A ratio, in percent.
    humid: float = pa.Field(in_range={"min_value": 0, "max_value": 100})
    # Degrees. A variable wind has none: no direction is a fact there and no fault.
    wind_dir: float = pa.Field(in_range={"min_value": 0, "max_value": 360}, nullable=True)
    # Miles an hour.
    wind_speed: float = pa.Field(in_range={"min_value": 0, "max_value": MAX_WIND_MPH})
    # Reported where there was one.
    wind_gust: float = pa.Field(in_range={"min_value": 0, "max_value": MAX_WIND_MPH}, nullable=True)
    # Inches in an hour: Holt, Missouri, 22 June 1947.
    precip: float = pa.Field(in_range={"min_value": 0, "max_value": 12})
    # Millibars at sea level: Typhoon Tip, 12 October 1979; Tosontsengel, 30 December 2004.
    pressure: float = pa.Field(in_range={"min_value": 870, "max_value": 1089.4})
    # The label: miles; what is farther than ten is reported as ten.
    visib: float = pa.Field(in_range={"min_value": 0, "max_value": 10})
    # In UTC: the year of New York begins and ends five hours later.
    time_hour: pd.Timestamp = pa.Field(
        in_range={
            "min_value": pd.Timestamp("2013-01-01 05:00"),
            "max_value": pd.Timestamp("2014-01-01 04:00"),
        }
    )

    @pa.dataframe_check
    def dew_point_within_temperature(cls, df: pd.DataFrame) -> "pd.Series[bool]":  # noqa: N805
        """Air that is cooled to its dew point is saturated; half a degree is for rounding."""
        return df["dewp"] <= df["temp"] + 0.5
