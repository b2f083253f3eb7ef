"""Colours of fluorophores, as they are usually shown; written by hand."""

import pytest

from converter.writing.colors import usual_color
from drivers.model import Channel

CASES = [
    ("DAPI", "0000FF"), ("Hoechst 33342", "0000FF"), ("GFP", "00FF00"), ("H2B-EGFP", "00FF00"), ("FITC_100ms", "00FF00"),
    ("Alexa Fluor 488", "00FF00"), ("AF647", "FF00FF"), ("TRITC", "FF0000"), ("Cy3", "FF0000"), ("Cy 5", "FF00FF"),
    ("mCherry", "FF0000"), ("tdTomato", "FF0000"), ("Texas Red", "FF0000"), ("Alexa 555", "FF0000"), ("YFP", "FFFF00"),
    ("sfGFP", "00FF00"), ("GFP2", "00FF00"), ("mTagBFP2", "0000FF"), ("TagRFP-T", "FF0000"), ("mRFP1", "FF0000"),
    ("Cyanine 3", "FF0000"), ("Cyanine5", "FF00FF"), ("Opal 520", "00FF00"), ("Opal570", "FF0000"),
    ("CD8 (Opal 690)", "FF00FF"), ("SpectrumOrange", "FF0000"), ("SpGreen", "00FF00"), ("Pacific Blue", "0000FF"),
    ("Propidium Iodide", "FF0000"), ("iRFP670", "FF00FF"), ("TxRed", "FF0000"), ("TAMRA", "FF0000"), ("Opal", None),
    ("Red", None), ("opaline 520", None),
    ("undapied", None), ("DAPI/FITC", None), ("Channel 0", None), ("", None), (None, None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "color"), CASES)
def test_usual_color(name: str | None, color: str | None) -> None:
    assert usual_color(Channel(name)) == color
    assert usual_color(Channel("x", fluor=name)) == color


def test_fluor_is_before_the_name_and_the_name_before_the_wavelength() -> None:
    assert usual_color(Channel("DAPI", fluor="Cy3")) == "FF0000"
    assert usual_color(Channel("DAPI", emission_nm=670)) == "0000FF"
    assert [usual_color(Channel("x", emission_nm=nm)) for nm in (461, 525, 610, 670, 5)] == [
        "0000FF", "00FF00", "FF0000", "FF00FF", None,
    ]  # fmt: skip
