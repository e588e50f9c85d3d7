"""What a valid yellow taxi trip in New York is. Codes and bounds come from the commission's papers.

Source: New York City Taxi and Limousine Commission, data dictionary of yellow taxi trip records,
and its rate card of 2019.
"""

import pandas as pd
import pandera.pandas as pa

FIRST, LAST = pd.Timestamp("2019-01-01"), pd.Timestamp("2020-05-01")
# Zones 1 to 263; 264 and 265 are the dictionary's own words for an unknown one.
ZONES = {"min_value": 1, "max_value": 265}


class Trip(pa.DataFrameModel):
    """One trip.

    The meter's own columns are blank where a trip was dispatched and not metered: vendor,
    passengers, rate, payment and flag. `total_amount` holds the fare, and a tip is given after it.
    """

    # Creative Mobile Technologies, VeriFone.
    vendor_id: int = pa.Field(isin=[1, 2], nullable=True)
    pickup_datetime: pd.Timestamp = pa.Field(ge=FIRST, lt=LAST)
    dropoff_datetime: pd.Timestamp = pa.Field(ge=FIRST, lt=LAST + pd.Timedelta(days=1))
    # Five seats, and a child of up to seven on a lap.
    passenger_count: int = pa.Field(in_range={"min_value": 1, "max_value": 6}, nullable=True)
    # Miles; a taxi that did not move drove nobody.
    trip_distance: float = pa.Field(gt=0, le=500)
    # Standard, JFK, Newark, Nassau or Westchester, negotiated, group.
    rate_code_id: int = pa.Field(isin=[1, 2, 3, 4, 5, 6], nullable=True)
    store_and_fwd_flag: str = pa.Field(isin=["Y", "N"], nullable=True)
    pickup_location_id: int = pa.Field(in_range=ZONES)
    dropoff_location_id: int = pa.Field(in_range=ZONES)
    # Credit, cash, no charge, dispute, unknown, voided.
    payment_type: int = pa.Field(isin=[1, 2, 3, 4, 5, 6], nullable=True)
    # The label, dollars: the flag drops at 2.50, and 1,000 are 200 miles at the double rate that
    # is due beyond the city. Negative ones are refunds, which are no trips.
    fare_amount: float = pa.Field(in_range={"min_value": 2.5, "max_value": 1000})
    # Rush hour 1.00, night 0.50, airport and congestion on top of them by some vendors.
    extra: float = pa.Field(in_range={"min_value": 0, "max_value": 20})
    mta_tax: float = pa.Field(isin=[0.0, 0.5])
    improvement_surcharge: float = pa.Field(isin=[0.0, 0.3])
    # The dearest crossing, twice, with the Verrazzano's toll of the time.
    tolls_amount: float = pa.Field(in_range={"min_value": 0, "max_value": 100})
    tip_amount: float = pa.Field(ge=0)
    total_amount: float = pa.Field(ge=2.5)
    # Due since 2 February 2019 south of 96th Street; blank before.
    congestion_surcharge: float = pa.Field(isin=[0.0, 0.75, 2.5], nullable=True)

    @pa.dataframe_check
    def ends_after_it_begins(cls, df: pd.DataFrame) -> "pd.Series[bool]":  # noqa: N805
        """A taxi is let for no longer than a day."""
        lasted = df["dropoff_datetime"] - df["pickup_datetime"]
        return (lasted > pd.Timedelta(0)) & (lasted <= pd.Timedelta(days=1))
