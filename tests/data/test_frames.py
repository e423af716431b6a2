import pandas as pd
import pytest
from pandera.errors import SchemaError

from paincore.data.frames import FRAMES, with_derived
from paincore.data.unbc import list_corpus, read_frames


@pytest.fixture
def frames(miniature) -> pd.DataFrame:
    return read_frames(list_corpus(miniature.root))[0]


@pytest.mark.parametrize(
    ("column", "value"),
    [("au4", 6.0), ("pspi", 17.0), ("state", "fine"), ("subject", "042-ll042"), ("frame", 2)],
)
def test_the_table_takes_no_value_outside_its_bounds(frames, column, value):
    frames.loc[0, column] = value
    with pytest.raises(SchemaError):
        FRAMES.validate(frames)


def test_pain_is_pspi_above_the_threshold_and_unknown_where_pspi_is(frames):
    frames.loc[0, "pspi"] = float("nan")
    assert with_derived(frames)["pain"].isna().to_list() == [True] + [False] * 11
    assert frames["pain"].sum() == 2  # the table that was given is left alone
