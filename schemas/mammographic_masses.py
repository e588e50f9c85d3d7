"""What a valid report on a mass seen in a mammogram is. Domains are the codes of BI-RADS.

Source: American College of Radiology, Breast Imaging Reporting and Data System. Equal rows are no
fault: six small codes say so little of a woman that two women may well share them.
"""

import pandera.pandas as pa


class Mass(pa.DataFrameModel):
    """One mass, as a radiologist described it, and what the biopsy said."""

    # Assessment: 0 is incomplete, 1 negative, 5 highly suggestive of malignancy, 6 proven.
    bi_rads: int = pa.Field(alias="BI-RADS", in_range={"min_value": 0, "max_value": 6})
    # Years; nobody is known to have lived longer than 122 (Jeanne Calment).
    age: int = pa.Field(alias="Age", in_range={"min_value": 0, "max_value": 122})
    # Round, oval, lobular, irregular.
    shape: int = pa.Field(alias="Shape", isin=[1, 2, 3, 4])
    # Circumscribed, microlobulated, obscured, ill-defined, spiculated.
    margin: int = pa.Field(alias="Margin", isin=[1, 2, 3, 4, 5])
    # High, iso, low, fat-containing.
    density: int = pa.Field(alias="Density", in_range={"min_value": 1, "max_value": 4})
    # The label: 1 is malignant.
    severity: int = pa.Field(alias="Severity", isin=[0, 1])
