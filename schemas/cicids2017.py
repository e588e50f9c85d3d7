"""What a valid network flow is, as CICFlowMeter describes one.

Bounds come from the protocols' header fields and from the meter's own definitions: a quantity
that counts, measures a length or a time cannot be negative, and a rate over no time is no number.
"""

import pandera.pandas as pa

# RFC 791: the total length of an IP packet is a field of 16 bits; RFC 793: so are port and window.
MAX_16_BITS = 65_535
# The meter ends a flow after 120 seconds; times are in microseconds.
FLOW_TIMEOUT = 120_000_000
# RFC 793: a TCP header has at most 15 words of 4 bytes.
MAX_TCP_HEADER = 60


def _columns(names: list[str], *checks: pa.Check, nullable: bool = False) -> dict[str, pa.Column]:
    return {name: pa.Column(float, list(checks), nullable=nullable) for name in names}


def _statistics(name: str, which: str = "Mean Std Max Min") -> list[str]:
    return [f"{name} {statistic}" for statistic in which.split()]


TIMES = [
    "Flow Duration",
    *_statistics("Flow IAT"),
    "Fwd IAT Total",
    *_statistics("Fwd IAT"),
    "Bwd IAT Total",
    *_statistics("Bwd IAT"),
    *_statistics("Active"),
    *_statistics("Idle"),
]
PACKET_LENGTHS = [
    *_statistics("Fwd Packet Length"),
    *_statistics("Bwd Packet Length"),
    "Min Packet Length",
    "Max Packet Length",
    "Packet Length Mean",
    "Packet Length Std",
    "Average Packet Size",
    "Avg Fwd Segment Size",
    "Avg Bwd Segment Size",
]
COUNTS_AND_SUMS = [
    "Total Fwd Packets",
    "Total Backward Packets",
    "Total Length of Fwd Packets",
    "Total Length of Bwd Packets",
    "Subflow Fwd Packets",
    "Subflow Fwd Bytes",
    "Subflow Bwd Packets",
    "Subflow Bwd Bytes",
    "Fwd Header Length",
    "Bwd Header Length",
    "act_data_pkt_fwd",
    "Packet Length Variance",
    "Down/Up Ratio",
    "Fwd Avg Bytes/Bulk",
    "Fwd Avg Packets/Bulk",
    "Fwd Avg Bulk Rate",
    "Bwd Avg Bytes/Bulk",
    "Bwd Avg Packets/Bulk",
    "Bwd Avg Bulk Rate",
]
RATES = ["Flow Bytes/s", "Flow Packets/s", "Fwd Packets/s", "Bwd Packets/s"]
# This version of the meter says whether a flag was seen, not how often.
FLAGS = [
    "Fwd PSH Flags",
    "Bwd PSH Flags",
    "Fwd URG Flags",
    "Bwd URG Flags",
    "FIN Flag Count",
    "SYN Flag Count",
    "RST Flag Count",
    "ACK Flag Count",
    "URG Flag Count",
    "CWE Flag Count",
    "ECE Flag Count",
]

Flow = pa.DataFrameSchema(
    {
        "Destination Port": pa.Column(int, pa.Check.in_range(0, MAX_16_BITS)),
        # The label: does the flow push data to its application?
        "PSH Flag Count": pa.Column(int, pa.Check.isin([0, 1])),
        **_columns(TIMES, pa.Check.in_range(0, FLOW_TIMEOUT)),
        **_columns(PACKET_LENGTHS, pa.Check.in_range(0, MAX_16_BITS)),
        **_columns(COUNTS_AND_SUMS, pa.Check.ge(0)),
        # Flows of no duration have no rate; the meter writes Infinity and NaN.
        **_columns(RATES, pa.Check.ge(0)),
        **_columns(FLAGS, pa.Check.isin([0.0, 1.0])),
        # The window of the first packet; UDP has none, which the meter writes as -1.
        **_columns(
            ["Init_Win_bytes_forward", "Init_Win_bytes_backward"],
            pa.Check.in_range(0, MAX_16_BITS),
            nullable=True,
        ),
        **_columns(["min_seg_size_forward"], pa.Check.in_range(0, MAX_TCP_HEADER)),
    },
    name="Flow",
)
