"""What a valid penguin is. Bounds are what an adult of a brush-tailed penguin can measure.

Source of the ranges: species accounts of Pygoscelis in del Hoyo et al., Handbook of the Birds of
the World; widened, because a schema is to reject slips of the pen and not large birds.
"""

import pandera.pandas as pa


class Penguin(pa.DataFrameModel):
    """One nesting adult, measured once (Palmer Station LTER)."""

    # The three species that nest there; the label.
    species: str = pa.Field(isin=["Adelie", "Chinstrap", "Gentoo"])
    # The three islands of the study area.
    island: str = pa.Field(isin=["Biscoe", "Dream", "Torgersen"])
    # A culmen of 30 to 60 mm in the genus.
    bill_length_mm: float = pa.Field(in_range={"min_value": 25, "max_value": 70})
    # A third of the length, and more in the Adelie's stout bill.
    bill_depth_mm: float = pa.Field(in_range={"min_value": 10, "max_value": 25})
    # 170 to 230 mm in the genus.
    flipper_length_mm: float = pa.Field(in_range={"min_value": 150, "max_value": 250})
    # 3 to 7 kg from the end of a fast to before a moult.
    body_mass_g: float = pa.Field(in_range={"min_value": 2000, "max_value": 8500})
    # Told from blood; where none was taken nobody knows, and that is a fact and no fault.
    sex: str = pa.Field(isin=["male", "female"], nullable=True)
    # The three seasons of the study.
    year: int = pa.Field(in_range={"min_value": 2007, "max_value": 2009})
