"""What a valid block group of the 1990 census of California is.

Bounds come from the map and from how the Census Bureau coded its answers (1990 Census of
Population and Housing, Summary Tape File 3, technical documentation).
"""

import pandera.pandas as pa


class BlockGroup(pa.DataFrameModel):
    """One block group: the smallest area that the census publishes, 600 to 3,000 people."""

    # California lies between these meridians and parallels.
    longitude: float = pa.Field(in_range={"min_value": -124.5, "max_value": -114.1})
    latitude: float = pa.Field(in_range={"min_value": 32.5, "max_value": 42.1})
    # Years; nothing that Europeans built there is older than 1769.
    housing_median_age: float = pa.Field(in_range={"min_value": 0, "max_value": 221})
    # Counts of a group that has at least one household.
    total_rooms: float = pa.Field(ge=1)
    total_bedrooms: float = pa.Field(ge=1)
    population: float = pa.Field(ge=1)
    households: float = pa.Field(ge=1)
    # Tens of thousands of dollars; incomes above 150,000 were coded 150,001.
    median_income: float = pa.Field(in_range={"min_value": 0, "max_value": 15.0001})
    # Dollars; the lowest answer was "less than 15,000", and above 500,000 all were coded 500,001.
    median_house_value: float = pa.Field(in_range={"min_value": 14_999, "max_value": 500_001})
    ocean_proximity: str = pa.Field(
        isin=["<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN"]
    )
