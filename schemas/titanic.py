"""What a valid passenger is. Bounds come from the ship, her tickets and the length of a life."""

import pandera.pandas as pa


class Passenger(pa.DataFrameModel):
    """One passenger of the Titanic.

    Names, tickets, cabins and home towns are carried and no features: they name people, not kinds
    of people. `boat` and `body` were written down after the outcome and give it away.
    """

    # The label: 1 came to New York.
    survived: int = pa.Field(isin=[0, 1])
    # She had three classes.
    pclass: int = pa.Field(isin=[1, 2, 3])
    sex: str = pa.Field(isin=["female", "male"])
    # Nobody is known to have lived longer than 122 years (Jeanne Calment).
    age: float = pa.Field(in_range={"min_value": 0, "max_value": 122})
    # Brothers, sisters and a spouse; parents and children. Families of more than twenty are none.
    sibsp: int = pa.Field(in_range={"min_value": 0, "max_value": 20})
    parch: int = pa.Field(in_range={"min_value": 0, "max_value": 20})
    # The dearest suite cost 870 pounds (White Star Line's tariff of 1912); staff paid nothing.
    fare: float = pa.Field(in_range={"min_value": 0, "max_value": 870})
    # She took passengers on at Southampton, Cherbourg and Queenstown.
    embarked: str = pa.Field(isin=["C", "Q", "S"])
