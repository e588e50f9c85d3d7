"""What a valid weather observation is. Bounds are what the atmosphere has ever done.

Records: World Meteorological Organization, World Weather and Climate Extremes Archive.
"""

import pandas as pd
import pandera.pandas as pa

COMPASS = "N NNE NE ENE E ESE SE SSE S SSW SW WSW W WNW NW NNW".split()


class Weather(pa.DataFrameModel):
    """One observation of one station at one time."""

    # The network has run since 2025: a logger that restarts its clock says 1970.
    observed_at: pd.Timestamp = pa.Field(ge=pd.Timestamp("2025-01-01"))
    station: str
    station_name: str
    # Vostok, 21 July 1983; Furnace Creek, 10 July 1913.
    temperature_c: float = pa.Field(in_range={"min_value": -89.2, "max_value": 56.7})
    # A ratio, in percent.
    humidity_pct: float = pa.Field(in_range={"min_value": 0, "max_value": 100})
    # At sea level: Typhoon Tip, 12 October 1979; Tosontsengel, 30 December 2004.
    pressure_hpa: float = pa.Field(in_range={"min_value": 870, "max_value": 1089.4})
    # Barrow Island, 10 April 1996, a gust; a mean cannot exceed it.
    wind_speed_ms: float = pa.Field(in_range={"min_value": 0, "max_value": 113.2})
    # Blank where no gust was felt.
    wind_gust_ms: float = pa.Field(in_range={"min_value": 0, "max_value": 113.2}, nullable=True)
    # In 24 hours: Foc-Foc, La Réunion, 7 to 8 January 1966.
    rain_mm: float = pa.Field(in_range={"min_value": 0, "max_value": 1825})
    # Eighths of the sky; the code 9 of WMO table 2700, "sky not visible", is no count.
    cloud_oktas: int = pa.Field(in_range={"min_value": 0, "max_value": 8})
    thunder: bool
    wind_dir: str = pa.Field(isin=COMPASS)
    rain_tomorrow: int = pa.Field(isin=[0, 1])

    class Config:
        """A station reports once at a time; of two copies nobody knows which is right."""

        unique = ["station", "observed_at"]  # noqa: RUF012 - as pandera wants it
