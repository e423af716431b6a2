import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from paincore.data.facs import pspi
from synthpain.behaviour import FPS, simulate
from synthpain.coder import code, code_closures, code_intensity, runs
from synthpain.temperament import draw_temperaments

EXPRESSIVE = max(draw_temperaments(25, seed=3), key=lambda person: person.shown)
BEHAVIOUR = simulate(EXPRESSIVE, 2000, True, (3, 0, 0))

closures = arrays(float, st.integers(1, 60), elements=st.sampled_from([0.0, 0.3, 0.7, 1.0]))


@given(closures)
def test_au43_is_coded_only_where_lids_stay_closed_beyond_half_a_second(closure):
    coded = code_closures(closure, np.zeros_like(closure))
    assert np.array_equal((coded["au43"] + coded["au45"]) > 0, closure > 0.5)
    assert all(end - begin > 0.5 * FPS for begin, end in runs(coded["au43"] > 0))
    assert all(end - begin <= 0.5 * FPS for begin, end in runs(coded["au45"] > 0))


@given(closures)
def test_a_blink_and_a_closure_in_pain_of_one_length_are_coded_alike(closure):
    nothing = np.zeros_like(closure)
    as_pain, as_blink = code_closures(closure, nothing), code_closures(nothing, closure)
    assert all(np.array_equal(as_pain[au], as_blink[au]) for au in as_pain)


@given(st.integers(0, 1000), st.floats(0.8, 5), st.floats(0, 2))
def test_an_error_lasts_as_long_as_its_event(seed, intensity, noise):
    steady = np.zeros(60)
    steady[20:40] = intensity
    coded = code_intensity(steady, np.random.default_rng(seed), noise)
    assert len(np.unique(coded[22:38])) == 1
    assert not coded[:19].any() and not coded[41:].any()


def test_coded_intensities_follow_the_true_ones_and_pspi_is_that_of_the_coded():
    coded = code(BEHAVIOUR, (3, 0, 0))
    for au in (4, 6, 7, 12, 25):
        assert np.corrcoef(BEHAVIOUR[f"au{au}"], coded[f"au{au}"])[0, 1] > 0.8
        assert set(coded[f"au{au}"]) <= {0, 1, 2, 3, 4, 5}
    assert coded["pspi"].max() > 4
    assert coded["pspi"].equals(pspi(*(coded[f"au{au}"] for au in (4, 6, 7, 9, 10, 43))))
