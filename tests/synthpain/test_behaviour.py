from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from synthpain.behaviour import DISTRACTIONS, FPS, HALF_CLOSED, Dials, simulate
from synthpain.coder import code, runs
from synthpain.temperament import draw_temperaments

PEOPLE = draw_temperaments(25, seed=3)
EXPRESSIVE = max(PEOPLE, key=lambda person: person.shown)
LONG = 1500  # frames, two and a half minutes
KEY = (3, 0, 0)


def test_blinks_last_a_tenth_to_half_a_second_and_pain_closes_the_lids_for_longer():
    behaviour = simulate(EXPRESSIVE, LONG, True, KEY)
    assert behaviour[["au43", "au45"]].min(axis=1).max() < HALF_CLOSED  # never both
    blinks = [end - begin for begin, end in runs(behaviour["blink"].to_numpy())]
    squeezes = [e - b for b, e in runs(behaviour["au43"].to_numpy() > HALF_CLOSED) if e < LONG]
    assert len(blinks) > 20 and len(squeezes) > 2
    assert min(blinks) >= 1 and max(blinks) <= 0.5 * FPS < min(squeezes)


@pytest.mark.parametrize("seed", range(3))
def test_what_distracts_is_coded_and_never_raises_pspi(seed):
    calm = replace(EXPRESSIVE, shown=0.0, felt=0.0, smiles=0.0, squints=0.0, distractions=2.0)
    # One who shows nothing has no peaks in a painful raise, not even of AUs outside PSPI.
    coded = code(simulate(calm, LONG, True, (seed, 0, 0)), (seed, 0, 0))
    assert (coded["pspi"] == 0).all()
    assert (coded[[f"au{au}" for aus in DISTRACTIONS.values() for au in aus]] > 0).any().all()


def test_felt_smiles_and_squints_raise_pspi_without_pain():
    cheerful = replace(EXPRESSIVE, shown=0.0, felt=0.0, smiles=0.1, squints=0.1)
    behaviour = simulate(cheerful, LONG, True, KEY)
    coded = code(behaviour, KEY)
    assert (coded["pspi"] > 0).mean() > 0.1
    assert not behaviour["felt_pain"].any()


def test_some_people_feel_pain_and_never_show_it():
    silent = [person for person in PEOPLE if person.shown == 0]
    assert 3 <= len(silent) <= 5
    for person in silent:
        behaviour = simulate(replace(person, felt=5.0), LONG, True, KEY)
        others = behaviour["expression"].isin(["felt smile", "squint"]) | behaviour["blink"]
        near = others.rolling(13, center=True, min_periods=1).max().astype(bool)
        assert behaviour["felt_pain"].mean() > 0.2
        assert (code(behaviour, KEY)["pspi"][~near] == 0).all()


def test_the_affected_limb_hurts_more():
    def felt(affected):
        each = (simulate(p, 300, affected, (0, i, 0))["pain"] for i, p in enumerate(PEOPLE))
        return pd.concat(each).mean()

    assert felt(True) > 1.5 * felt(False)


def test_heads_turn_mostly_within_35_degrees_and_never_jump():
    poses = pd.concat(simulate(p, 200, True, (0, i, 0)) for i, p in enumerate(PEOPLE))
    assert 0.9 < (poses["yaw"].abs() <= 35).mean() < 1
    steps = poses.groupby(np.arange(len(poses)) // 200)[["yaw", "pitch", "roll"]].diff().abs()
    assert steps.max().max() < 10  # degrees in a tenth of a second


LIGHT = {"light_yaw", "light_pitch", "light_strength", "warmth"}


@pytest.mark.parametrize(
    ("dials", "turned"),
    [
        ({"pain_pose": 30}, {"yaw", "pitch"}),
        ({"pain_light": 0.8}, LIGHT),
        ({"label_noise": 1}, set()),
    ],
)
def test_a_dial_turns_its_own_columns_and_no_other(dials, turned):
    plain, changed = (simulate(EXPRESSIVE, 300, True, KEY, Dials(**d)) for d in ({}, dials))
    assert {name for name in plain if not plain[name].equals(changed[name])} == turned
