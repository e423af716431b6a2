import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paincore.data.facs import LID_AUS
from paincore.data.unbc import parse_facs, parse_landmarks, parse_pspi
from synthpain.layout import write_facs, write_landmarks, write_number

coded_aus = st.dictionaries(st.integers(1, 98), st.integers(0, 5))


def test_numbers_are_read_and_written_as_the_data_set_has_them():
    assert parse_pspi(b"   0.0000000e+00") == 0
    assert write_number(0) == "   0.0000000e+00\n"
    row = b"   4.3000000e+01   1.0000000e+00   0.0000000e+00   0.0000000e+00"
    assert parse_facs(row) == {43: 1}


@given(coded_aus)
def test_action_units_survive_writing_and_reading(aus):
    seen = {au: float(1 if au in LID_AUS else aus[au]) for au in aus if aus[au]}
    assert parse_facs(write_facs(aus).encode()) == seen


@given(st.lists(st.tuples(*[st.floats(-1e3, 1e3)] * 2), min_size=66, max_size=66))
def test_landmarks_survive_writing_and_reading(points):
    written = write_landmarks(np.array(points))
    np.testing.assert_allclose(parse_landmarks(written.encode()), points, rtol=1e-7, atol=1e-30)


def test_empty_codes_none_lids_are_1_and_of_an_au_named_twice_the_stronger_counts():
    assert parse_facs(b" \n\n") == {}
    assert parse_facs(b"43 0 0 0\n45 0 0 0\n12 0 0 0") == {43: 1, 45: 1, 12: 0}
    assert parse_facs(b"4 1 0 0\n4 3 0 0\n4 2 0 0") == {4: 3}


@pytest.mark.parametrize(
    ("parse", "content", "sentence"),
    [
        (parse_facs, b"4 2 0 0\nnone", "line 2 has 1 values instead of 4"),
        (parse_facs, b"four 2 0 0", "four"),
        (parse_facs, b"4 9 0 0", "intensity 9 of AU4 is outside 0 to 5"),
        (parse_facs, b"4.5 1 0 0", "4.5 is not the number of an action unit"),
        (parse_facs, b"4 nan 0 0", "nan is not finite"),
        (parse_pspi, b"1 2", "2 values instead of one"),
        (parse_pspi, b"17", "PSPI 17 is outside 0 to 16"),
        (parse_landmarks, b"1 2\n" * 65, "65 rows"),
    ],
)
def test_a_bad_file_is_refused_with_its_line_or_value(parse, content, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse(content)
