import pytest

from paincore import PaincoreError
from paincore.manifest import load_manifest
from paincore.profiles import DEFAULT_PROFILE, PROFILES, profile_named


def test_every_profile_has_a_data_set_of_the_manifest_and_only_the_papers_needs_a_licence():
    synthetic = {name: one.synthetic for name, one in load_manifest().datasets.items()}
    licensed = [name for name, profile in PROFILES.items() if not synthetic[profile.dataset]]
    assert licensed == ["paper"] != [DEFAULT_PROFILE]


def test_an_unknown_profile_is_refused_with_the_known_ones():
    with pytest.raises(PaincoreError, match=r"'large'.*smoke, demo, paper"):
        profile_named("large")
