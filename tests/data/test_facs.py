import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paincore.data.facs import PSPI_MAXIMUM, pspi, pspi_from_table

intensity = st.floats(0, 5)
action_units = st.tuples(*[intensity] * 5, st.floats(0, 1))


@given(action_units)
def test_pspi_is_the_sum_of_brow_orbit_levator_and_lids(aus):
    au4, au6, au7, au9, au10, au43 = aus
    assert pspi(*aus) == pytest.approx(au4 + max(au6, au7) + max(au9, au10) + au43)


@given(action_units)
def test_pspi_lies_between_0_and_16(aus):
    assert 0 <= pspi(*aus) <= PSPI_MAXIMUM
    assert pspi(5, 5, 5, 5, 5, 1) == PSPI_MAXIMUM


@given(action_units, st.integers(0, 5), st.floats(0, 5))
def test_pspi_never_falls_when_an_action_unit_rises(aus, position, rise):
    stronger = list(aus)
    stronger[position] += rise
    assert pspi(*stronger) >= pspi(*aus)


@given(st.lists(action_units, min_size=1, max_size=5))
def test_pspi_of_arrays_and_of_a_table_is_pspi_of_each_row(rows):
    columns = np.array(rows).T
    table = pd.DataFrame(
        dict(zip(["au4", "au6", "au7", "au9", "au10", "au43"], columns, strict=True))
    )
    expected = [pspi(*row) for row in rows]
    np.testing.assert_array_equal(pspi(*columns), expected)
    np.testing.assert_array_equal(pspi_from_table(table), expected)


def test_pspi_of_an_uncoded_frame_is_unknown():
    assert np.isnan(pspi(np.nan, 1, 1, 1, 1, 1))
    assert np.isnan(pspi(1, np.nan, 5, 1, 1, 1))
