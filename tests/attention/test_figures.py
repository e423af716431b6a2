from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from paincore.attention import figures
from paincore.attention.explained import PRETRAINED, RANDOM_WEIGHTS, SHUFFLED, TRAINED, Explained
from paincore.attention.maps import ChosenSample
from paincore.attention.regions import REGION_NAMES
from tests.attention.test_tables import trial
from tests.helpers.drawn import LICENSED, SYNTHETIC, assert_drawn_for, texts
from tests.helpers.onepatch import SIZE

MODELS = (TRAINED, SHUFFLED, PRETRAINED, RANDOM_WEIGHTS)


def chosen_sample() -> ChosenSample:
    rng = np.random.default_rng(0)
    frames = pd.DataFrame({"subject": "aa001", "frame": range(1, 5), "pspi": [0.0, 6, 7, 7]})
    images = rng.integers(1, 255, (4, SIZE, SIZE, 3), np.uint8)
    sample = pd.DataFrame({"sequence": ["aa001t1aaaff"], "probability": [0.8], "fold": [2]})
    store = SimpleNamespace(frames=frames, images=images)
    maps = {f"head {number}": rng.random((4, 6, 6)) for number in range(4)}
    explained = Explained(None, None, store, np.arange(4)[None], sample, images)
    return ChosenSample(explained, 0, maps, dict(list(maps.items())[:2]))


def every_figure(corpus, known, resamples, chosen, tried) -> dict:
    """All figures of the chapter by the name of their functions."""
    rng = np.random.default_rng(0)
    rows = [(name, region, 1.1, 1.0, 1.2) for name in MODELS for region in REGION_NAMES]
    regions = pd.DataFrame(rows, columns=["name", "region", "mean", "low", "high"])
    units = pd.DataFrame({"mean": 0.1, "low": 0.0, "high": 0.2}, ["AU4: brow", "AU9: nose"])
    clips = pd.DataFrame({"pain": [True, True, False], "probability": [0.9, 0.1, 0.2]})
    args = {
        "show_sample": (chosen,),
        "show_maps heads": (chosen, "heads"),
        "show_maps together": (chosen, "together"),
        "show_mean_maps": (rng.random((3, 4, 6, 6)), clips),
        "plot_regions": ({"last layer": regions, "rollout": regions},),
        "plot_heads": (regions,),
        "plot_heads_apart": ({name: rng.random(5) for name in MODELS},),
        "plot_units": (units,),
        "plot_shortcut": (tried, resamples),
    } | {f"plot_{name}": (known, resamples)
         for name in ("faithfulness", "pointing", "effects", "follows")}  # fmt: skip
    return {name: getattr(figures, name.split()[0])(corpus, *given) for name, given in args.items()}


@pytest.mark.parametrize("corpus", [SYNTHETIC, LICENSED])
def test_every_figure_is_drawn_within_its_canvas_and_shows_a_face_only_where_it_may(
    corpus, known, resamples
):
    drawn = every_figure(corpus, known, resamples, chosen_sample(), trial(known))
    for figure in drawn.values():
        assert_drawn_for(corpus, figure)
    for name in ("show_maps heads", "show_maps together"):  # a map alone, or a face and its map
        layers = {len(axes.images) for axes in drawn[name].axes if axes.get_title(loc="left")}
        assert layers - {0} == ({2} if corpus is SYNTHETIC else {1})
    faces = [bool(axes.images) for axes in drawn["show_sample"].axes]
    assert faces == [corpus is SYNTHETIC] * 4


def test_where_there_is_nothing_to_show_figures_say_so(known, resamples):
    blind = replace(known, units=known.units[:0])
    drawn = every_figure(LICENSED, blind, resamples, None, None)
    for name in ("plot_pointing", "plot_effects", "plot_follows", "plot_shortcut"):
        assert figures.NO_CAUSES in texts(drawn[name])
    for name in ("show_sample", "show_maps heads", "show_maps together"):
        assert figures.NO_SAMPLE in texts(drawn[name])


def test_the_effects_of_units_stand_where_they_are(known, resamples):
    axes = figures.plot_effects(SYNTHETIC, known, resamples).axes[0]
    points = axes.collections[-1].get_offsets()
    np.testing.assert_allclose(points, [[-0.5, 0], [1, 1], [0, 2]], atol=0.03)
    assert axes.get_yticklabels()[0].get_text() == "AU4 (80 samples, 20 people)"
