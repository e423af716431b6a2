import pytest

from paincore import paper


def test_printed_shares_and_what_they_leave_sum_to_all_frames():
    assert paper.pspi_shares() == {"0": 82.7, "1-2": 10.9, "3-16": 6.4}
    assert sum(paper.pspi_shares().values()) == pytest.approx(100)


def test_the_pain_class_is_every_frame_above_pspi_0():
    assert paper.pain_share() == 17.3
