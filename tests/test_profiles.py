import pytest

from paincore import PaincoreError
from paincore.manifest import load_manifest
from paincore.profiles import DEFAULT_PROFILE, PROFILES, profile_named


def test_every_profile_runs_on_a_data_set_of_the_manifest():
    assert {profile.dataset for profile in PROFILES.values()} <= set(load_manifest().datasets)


def test_only_the_paper_profile_needs_a_licence():
    assert {p.name for p in PROFILES.values() if p.dataset != "synthetic"} == {"paper"}
    assert profile_named(DEFAULT_PROFILE).frames == 2000


def test_an_unknown_profile_is_refused_with_the_known_ones():
    with pytest.raises(PaincoreError, match=r"'large'.*smoke, demo, paper"):
        profile_named("large")
