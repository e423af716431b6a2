import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paincore.data.facs import LID_AUS
from paincore.data.labels import parse_facs, parse_landmarks, parse_number, parse_pspi
from synthpain.layout import write_facs, write_landmarks, write_number

coded_aus = st.dictionaries(st.integers(1, 98), st.integers(0, 5))
words = st.sampled_from(
    [b"4", b"43", b"0", b"9", b"-1", b"1e309", b"nan", b"x", b" ", b"\n", b"\xff"]
)
contents = st.binary() | st.lists(words).map(b" ".join)


def test_numbers_are_read_and_written_as_the_data_set_has_them():
    assert parse_pspi(b"   0.0000000e+00") == 0
    assert write_number(0) == "   0.0000000e+00\n"
    assert parse_facs(b"   4.3000000e+01   1.0000000e+00   0.0000000e+00   0.0000000e+00") == {
        43: 1
    }


@given(st.integers(0, 16))
def test_pspi_survives_writing_and_reading(pspi):
    assert parse_pspi(write_number(pspi).encode()) == pspi


@given(coded_aus)
def test_action_units_survive_writing_and_reading(aus):
    seen = {au: float(1 if au in LID_AUS else aus[au]) for au in aus if aus[au]}
    assert parse_facs(write_facs(aus).encode()) == seen


@given(st.lists(st.tuples(*[st.floats(-1e3, 1e3)] * 2), min_size=66, max_size=66))
def test_landmarks_survive_writing_and_reading(points):
    written = write_landmarks(np.array(points))
    np.testing.assert_allclose(parse_landmarks(written.encode()), points, rtol=1e-7, atol=1e-30)


@given(contents)
def test_any_bytes_are_read_or_refused_with_a_sentence(content):
    for read in (parse_number, parse_pspi, parse_facs, parse_landmarks):
        try:
            value = read(content)
        except ValueError as error:
            assert str(error)
        else:
            assert np.isfinite(list(value.values()) if isinstance(value, dict) else value).all()


@pytest.mark.parametrize(
    ("content", "coded"),
    [
        (b" \n\n", {}),
        (b"43 0 0 0\n45 0 0 0\n12 0 0 0", {43: 1, 45: 1, 12: 0}),
        (b"4 1 0 0\n4 3 0 0\n4 2 0 0", {4: 3}),
    ],
)
def test_empty_codes_none_lids_are_1_and_of_an_au_named_twice_the_stronger_counts(content, coded):
    assert parse_facs(content) == coded


@pytest.mark.parametrize(
    ("parse", "content", "sentence"),
    [
        (parse_facs, b"4 2 0 0\nnone", "line 2 has 1 values instead of 4"),
        (parse_facs, b"four 2 0 0", "'four' is not a number"),
        (parse_facs, b"4 9 0 0", "intensity 9 of AU4 is outside 0 to 5"),
        (parse_facs, b"4.5 1 0 0", "4.5 is not the number of an action unit"),
        (parse_facs, b"0 1 0 0", "0 is not the number of an action unit"),
        (parse_facs, b"4 nan 0 0", "'nan' is not a number"),
        (parse_pspi, b"1 2", "2 values instead of one"),
        (parse_pspi, b"", "0 values"),
        (parse_pspi, b"17", "PSPI 17 is outside 0 to 16"),
        (parse_landmarks, b"1 2\n" * 65, "65 rows"),
    ],
)
def test_a_bad_file_is_refused_with_its_line_or_value(parse, content, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse(content)
