import pytest

from paincore import paper


def test_shares_of_pspi_sum_to_all_frames_and_pain_is_every_frame_above_0():
    assert sum(paper.PSPI_SHARES.values()) == pytest.approx(100)
    assert pytest.approx(100 - paper.PSPI_SHARES["0"]) == paper.PAIN_SHARE
