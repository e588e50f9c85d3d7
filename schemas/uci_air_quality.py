"""What a valid hour of the air in an Italian city is, by reference analysers and by cheap sensors.

The columns with GT come from the city's reference analysers, those with PT08 from five metal oxide
sensors whose resistance is read, which is positive (De Vito et al., Sensors and Actuators B 129,
2008). `Date` is carried and no feature: month/day/year is no date that nanproof reads.
"""

import pandera.pandas as pa

SENSORS = [
    "PT08.S1(CO)", "PT08.S2(NMHC)", "PT08.S3(NOx)", "PT08.S4(NO2)", "PT08.S5(O3)",
]  # fmt: skip

Hour = pa.DataFrameSchema(
    {
        "Time": pa.Column(str, pa.Check.isin([f"{hour}:00:00" for hour in range(24)])),
        # mg/m3; the WHO allows a hundred for fifteen minutes, so that an hour of it is no street.
        # An analyser that is being calibrated has no reading, which is no fault.
        "CO(GT)": pa.Column(float, pa.Check.in_range(0, 100), nullable=True),
        # ug/m3 of hydrocarbons other than methane.
        "NMHC(GT)": pa.Column(float, pa.Check.ge(0), nullable=True),
        # The label, ug/m3 of benzene: 3,250 is the limit for a worker's day (EU, 1 ppm).
        "C6H6(GT)": pa.Column(float, pa.Check.in_range(0, 3250)),
        # ppb of nitrogen oxides, and ug/m3 of nitrogen dioxide.
        "NOx(GT)": pa.Column(float, pa.Check.ge(0), nullable=True),
        "NO2(GT)": pa.Column(float, pa.Check.ge(0), nullable=True),
        **{name: pa.Column(float, pa.Check.gt(0)) for name in SENSORS},
        # Celsius: from below any city's frost to Italy's record (Floridia, 11 August 2021).
        "T": pa.Column(float, pa.Check.in_range(-30, 48.8)),
        # A ratio, in percent.
        "RH": pa.Column(float, pa.Check.in_range(0, 100)),
        # Absolute humidity.
        "AH": pa.Column(float, pa.Check.ge(0)),
    },
    name="Hour",
)
