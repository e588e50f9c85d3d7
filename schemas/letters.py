"""What a valid glyph is. Bounds come from the set's format and from what a picture needs to say."""

import pandera.pandas as pa


class Glyph(pa.DataFrameModel):
    """One letter on a dark ground.

    The columns are what the image says of itself; its pixels are the feature. Copies are valid:
    the job puts them into one split.
    """

    # The set's format.
    image_height: int = pa.Field(eq=28)
    image_width: int = pa.Field(eq=28)
    # Light and dark alone.
    image_channels: int = pa.Field(eq=1)
    # Without a spread it is a blank sheet.
    image_std: float = pa.Field(gt=0)
    image_nonfinite: int = pa.Field(eq=0)


class Letter(Glyph):
    """A glyph in the folder of its letter."""

    label: str = pa.Field(isin=list("ABCDEFGHIJ"))


class NumberedLetter(Glyph):
    """A glyph of IDX files, which number the letters: 0 is A."""

    label: int = pa.Field(isin=list(range(10)))
