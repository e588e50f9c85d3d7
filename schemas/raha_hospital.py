"""What a valid row of Hospital Compare is, as Medicare published it for Alabama and Alaska.

Domains are common knowledge and were written down from the dirty twin alone: codes of states and
measures, formats of numbers, names of counties, and how English spells an x. The text is in lower
case, and `empty` means missing.
"""

import pandera.pandas as pa

# Postal codes of the states and of the district.
STATES = """ak al ar az ca co ct dc de fl ga hi ia id il in ks ky la ma md me mi mn mo ms mt nc nd
ne nh nj nm nv ny oh ok or pa ri sc sd tn tx ut va vt wa wi wv wy""".split()
# Alabama has 67 counties; Alaska has boroughs and census areas.
COUNTIES = """autauga,baldwin,barbour,bibb,blount,bullock,butler,calhoun,chambers,cherokee,chilton,
choctaw,clarke,clay,cleburne,coffee,colbert,conecuh,coosa,covington,crenshaw,cullman,dale,dallas,
de kalb,elmore,escambia,etowah,fayette,franklin,geneva,greene,hale,henry,houston,jackson,jefferson,
lamar,lauderdale,lawrence,lee,limestone,lowndes,macon,madison,marengo,marion,marshall,mobile,monroe,
montgomery,morgan,perry,pickens,pike,randolph,russell,shelby,st clair,sumter,talladega,tallapoosa,
tuscaloosa,walker,washington,wilcox,winston,aleutians east,aleutians west,anchorage,bethel,
bristol bay,denali,dillingham,fairbanks north star,haines,juneau,kenai peninsula,ketchikan gateway,
kodiak island,lake and peninsula,matanuska susitna,nome,north slope,northwest arctic,
prince of wales hyder,sitka,skagway hoonah angoon,southeast fairbanks,valdez cordova,wade hampton,
wrangell petersburg,yakutat,yukon koyukuk""".replace("\n", "").split(",")
# The process measures of the time: heart attack, heart failure, pneumonia, surgery, asthma.
MEASURES = """ami-1 ami-2 ami-3 ami-4 ami-5 ami-6 ami-7a ami-8a hf-1 hf-2 hf-3 hf-4 pn-1 pn-2 pn-3b
pn-4 pn-5c pn-6 pn-7 scip-inf-1 scip-inf-2 scip-inf-3 scip-inf-4 scip-inf-6 scip-card-2 scip-vte-1
scip-vte-2 cac-1 cac-2 cac-3""".split()
OWNERS = [
    "government - federal",
    "government - hospital district or authority",
    "government - local",
    "government - state",
    "physician",
    "proprietary",
    "tribal",
    "voluntary non-profit - church",
    "voluntary non-profit - other",
    "voluntary non-profit - private",
]
TYPES = [
    "acute care - veterans administration",
    "acute care hospitals",
    "childrens",
    "critical access hospitals",
]
CONDITIONS = [
    "children s asthma care",
    "heart attack",
    "heart failure",
    "pneumonia",
    "surgical infection prevention",
]
# In English an x follows a vowel or y (and in "lynx" an n), never stands alone or begins a word but
# "x-ray" or a name, and before a consonant it is "exc", "oxf", "exh", "axl", "exp", "exq", "ext",
# "axw" alone. Nor is there a digit beside it.
SPELLED = pa.Check.str_matches(
    r"^(?:[^x]|(?<=[aeiouy])x(?![bdgjkmnrsvxz0-9])|(?<=[aeiouy]n)x(?![a-z0-9]))+$"
)

Row = pa.DataFrameSchema(
    {
        "index": pa.Column(int, pa.Check.ge(1), unique=True),
        # CMS certification number: six digits, of which the leading zero of 01 and 02 is lost.
        "ProviderNumber": pa.Column(str, pa.Check.str_matches(r"^[0-9]{5,6}$")),
        "HospitalName": pa.Column(str, SPELLED),
        "Address1": pa.Column(str, SPELLED),
        "Address2": pa.Column(str, SPELLED, nullable=True),
        "Address3": pa.Column(str, SPELLED, nullable=True),
        "City": pa.Column(str, SPELLED),
        "State": pa.Column(str, pa.Check.isin(STATES)),
        "ZipCode": pa.Column(str, pa.Check.str_matches(r"^[0-9]{5}$")),
        "CountyName": pa.Column(str, pa.Check.isin(COUNTIES)),
        # North American Numbering Plan: neither area nor exchange begins with 0 or 1.
        "PhoneNumber": pa.Column(str, pa.Check.str_matches(r"^(?:[2-9][0-9]{2}){2}[0-9]{4}$")),
        "HospitalType": pa.Column(str, pa.Check.isin(TYPES)),
        "HospitalOwner": pa.Column(str, pa.Check.isin(OWNERS)),
        "EmergencyService": pa.Column(str, pa.Check.isin(["yes", "no"])),
        "Condition": pa.Column(str, pa.Check.isin(CONDITIONS)),
        "MeasureCode": pa.Column(str, pa.Check.isin(MEASURES)),
        "MeasureName": pa.Column(str, SPELLED),
        # A share of patients; none where too few were seen.
        "Score": pa.Column(str, pa.Check.str_matches(r"^(?:100|[1-9]?[0-9])%$"), nullable=True),
        "Sample": pa.Column(str, pa.Check.str_matches(r"^[0-9]+ patients$"), nullable=True),
        "StateAverage": pa.Column(
            str, pa.Check.isin([f"{state}_{measure}" for state in STATES for measure in MEASURES])
        ),
    },
    name="Row",
)
