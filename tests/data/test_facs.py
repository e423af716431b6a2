import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paincore.data.facs import PSPI_AUS, PSPI_MAXIMUM, pspi, pspi_from_table

action_units = st.tuples(*[st.floats(0, 5)] * 5, st.floats(0, 1))


@given(st.lists(action_units, min_size=1, max_size=5))
def test_pspi_is_the_sum_of_brow_orbit_levator_and_lids_of_each_row(rows):
    columns = np.array(rows).T
    table = pd.DataFrame({f"au{au}": column for au, column in zip(PSPI_AUS, columns, strict=True)})
    expected = [
        au4 + max(au6, au7) + max(au9, au10) + au43 for au4, au6, au7, au9, au10, au43 in rows
    ]
    assert pspi(*columns) == pytest.approx(expected)
    assert min(expected) >= 0 and max(expected) <= PSPI_MAXIMUM == pspi(5, 5, 5, 5, 5, 1)
    np.testing.assert_array_equal(pspi_from_table(table), pspi(*columns))


def test_pspi_of_an_uncoded_frame_is_unknown():
    assert np.isnan(pspi(np.nan, 1, 1, 1, 1, 1))
    assert np.isnan(pspi(1, np.nan, 5, 1, 1, 1))
