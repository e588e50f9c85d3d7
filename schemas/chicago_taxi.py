"""What a valid taxi trip in Chicago is. Bounds come from the city's map, clock and tariff.

Source: City of Chicago, Taxi Trips (2013 to 2016), and its notes on how the trips were made
anonymous: times are rounded, and places outside the city are blank.
"""

import pandas as pd
import pandera.pandas as pa

# The city's box, O'Hare included.
LATITUDE = {"min_value": 41.64, "max_value": 42.03}
LONGITUDE = {"min_value": -87.95, "max_value": -87.52}
# A driver's shift of twelve hours at 70 miles an hour.
MAX_MILES = 840
DAY_SECONDS = 86_400


class Trip(pa.DataFrameModel):
    """One trip.

    `pickup_census_tract` and `dropoff_census_tract` are carried and no features: the portal blanks
    a tract where fewer than three trips would share it, and here that leaves one pickup.
    """

    # There are 77 community areas.
    pickup_community_area: int = pa.Field(in_range={"min_value": 1, "max_value": 77}, nullable=True)
    dropoff_community_area: int = pa.Field(
        in_range={"min_value": 1, "max_value": 77}, nullable=True
    )
    pickup_latitude: float = pa.Field(in_range=LATITUDE, nullable=True)
    pickup_longitude: float = pa.Field(in_range=LONGITUDE, nullable=True)
    dropoff_latitude: float = pa.Field(in_range=LATITUDE, nullable=True)
    dropoff_longitude: float = pa.Field(in_range=LONGITUDE, nullable=True)
    trip_start_month: int = pa.Field(in_range={"min_value": 1, "max_value": 12})
    trip_start_day: int = pa.Field(in_range={"min_value": 1, "max_value": 7})
    trip_start_hour: int = pa.Field(in_range={"min_value": 0, "max_value": 23})
    # Seconds since 1970; 2013 to 2016 with a day to spare for the zone.
    trip_start_timestamp: int = pa.Field(
        in_range={"min_value": 1_356_912_000, "max_value": 1_483_315_200}
    )
    trip_seconds: int = pa.Field(in_range={"min_value": 0, "max_value": DAY_SECONDS})
    trip_miles: float = pa.Field(in_range={"min_value": 0, "max_value": MAX_MILES})
    # Dollars, 2.25 a mile and more beyond the suburbs; none where the trip was not charged.
    fare: float = pa.Field(in_range={"min_value": 0, "max_value": 3000})
    tips: float = pa.Field(ge=0)
    # The portal's list.
    payment_type: str = pa.Field(
        isin=["Cash", "Credit Card", "Dispute", "No Charge", "Pcard", "Prcard", "Unknown"]
    )
    # Blank for cabs that belong to no company.
    company: str = pa.Field(nullable=True)

    @pa.dataframe_check
    def miles_take_time(cls, df: pd.DataFrame) -> "pd.Series[bool]":  # noqa: N805
        """Seconds are rounded to minutes: half a mile may take none, more may not."""
        return (df["trip_seconds"] > 0) | (df["trip_miles"] <= 0.5)


class TippedTrip(Trip):
    """A trip, and whether its tip was more than a fifth of the fare."""

    big_tipper: int = pa.Field(isin=[0, 1])
