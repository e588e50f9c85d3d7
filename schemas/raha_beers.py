"""What a valid entry of a catalogue of American craft beer in cans is.

Domains are common knowledge and were written down from the dirty twin alone. Blank is how this
catalogue says "not stated": legal for what a brewer need not state (style, strength, bitterness),
and a fault in where a brewery stands.
"""

import pandera.pandas as pa

# Postal codes of the states and of the district.
STATES = """AK AL AR AZ CA CO CT DC DE FL GA HI IA ID IL IN KS KY LA MA MD ME MI MN MO MS MT NC ND
NE NH NJ NM NV NY OH OK OR PA RI SC SD TN TX UT VA VT WA WI WV WY""".split()

Beer = pa.DataFrameSchema(
    {
        "index": pa.Column(int, pa.Check.ge(1), unique=True),
        "id": pa.Column(int, pa.Check.ge(0), unique=True),
        "beer-name": pa.Column(str, pa.Check.str_length(1, 100)),
        "style": pa.Column(str, pa.Check.str_length(1, 100), nullable=True),
        # US fluid ounces, a number; the largest vessel that is sold full is a keg of 15.5 gallons.
        "ounces": pa.Column(float, pa.Check.in_range(1, 1984)),
        # Alcohol by volume, a share. The strongest beer ever sold had 0.675.
        "abv": pa.Column(float, pa.Check.in_range(0, 0.675), nullable=True),
        # International bitterness units; no label has ever claimed more than 2,500.
        "ibu": pa.Column(float, pa.Check.in_range(0, 2500), nullable=True),
        "brewery_id": pa.Column(int, pa.Check.ge(0)),
        "brewery-name": pa.Column(str, pa.Check.str_length(1, 100)),
        # A city and no more: the state has a column of its own.
        "city": pa.Column(str, pa.Check.str_matches(r"^(?!.* [A-Z]{2}$)[A-Z].*$")),
        "state": pa.Column(str, pa.Check.isin(STATES)),
    },
    name="Beer",
)
