from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from paincore import paper
from paincore.attention import figures as attention_figures
from paincore.attention import pictures as attention_pictures
from paincore.attention import tables as description
from paincore.attention.measures import SHUFFLED, TRAINED, Telling
from paincore.attention.regions import NAMES, REGIONS
from paincore.attention.shortcut import MODELS, Tried
from paincore.manifest import dataset_named
from paincore.style import MINUS
from tests.attention.test_measures import DRAWN, DRAWS, METHODS
from tests.helpers.drawn import texts
from tests.helpers.onepatch import SIZE

SYNTHETIC = SimpleNamespace(dataset=dataset_named("synthetic"), truth=object())
FILMS = SimpleNamespace(dataset=dataset_named("unbc"), truth=None)
CONTROLS = (TRAINED, SHUFFLED, "pretrained", "random")
BLIND = replace(DRAWN, units=DRAWN.units.iloc[:0])


def regions(trained: float) -> pd.DataFrame:
    """Ratios of four models: the trained one has `trained` in every region, the others 1.1."""
    rows = [
        (model, region, mean, mean - 0.05, mean + 0.05, 20)
        for model in CONTROLS
        for region in NAMES
        for mean in [trained if model == TRAINED else 1.1]
    ]
    return pd.DataFrame(rows, columns=["model", "region", "mean", "low", "high", "people"])


def less(trained: float) -> pd.DataFrame:
    """What `regions` has of the trained model more than of each other."""
    others = regions(trained).query("model != @TRAINED")
    more = trained - others["mean"]
    return others.assign(mean=more, low=more - 0.05, high=more + 0.05)


def apart(trained: float) -> dict[str, np.ndarray]:
    """Heads of the five trained networks and of the others, 0.05 apart."""
    spread = np.linspace(-0.01, 0.01, 5)
    return {model: 0.05 + spread for model in CONTROLS} | {TRAINED: trained + 1.1 * spread}


def tried(found: float, used: float) -> Tried:
    """Maps of the planted model lie `found` more on the hidden part in method "good"."""
    names = sorted(set(DRAWN.samples["subject"]))
    rows = [
        (model, kind, method, name, 0.1 + found * (model == "planted") * (method == "good"), 0.1)
        for model in MODELS
        for kind in ("planted", "clean")
        for method in METHODS
        for name in names
    ]
    shares = pd.DataFrame(rows, columns=["model", "pictures", "method", "subject", "share", "area"])
    rises = [
        (model, name, 0.3, 0.3 + used * (model == "planted")) for model in MODELS for name in names
    ]
    turned = pd.DataFrame(rises, columns=["model", "subject", "before", "after"])
    return Tried(shares, turned, ())


def telling(dataset: str = "synthetic") -> tuple[SimpleNamespace, Telling]:
    rng = np.random.default_rng(0)
    frames = pd.DataFrame(
        {"subject": "aa001", "sequence": "aa001t1aaaff", "frame": range(1, 5),
         "pspi": [0.0, 6, 7, 7]}
    )  # fmt: skip
    store = SimpleNamespace(
        frames=frames, images=rng.integers(1, 255, (4, SIZE, SIZE, 3), np.uint8)
    )
    run = SimpleNamespace(
        predictions=pd.DataFrame({"probability": [0.8], "fold": [2]}),
        configuration=SimpleNamespace(title="ViViT 6 layers, 2e-4"),
    )
    explained = SimpleNamespace(store=store, run=run, rows=np.arange(4)[None])
    heads = rng.random((4, 4, 6, 6), np.float32)
    corpus = SimpleNamespace(dataset=dataset_named(dataset), truth=None)
    return corpus, Telling(explained, 0, heads, {"rollout, max": heads[0], "last": heads[1]})


def measured(corpus) -> dict:
    return {
        "regions": attention_figures.by_region(corpus, {"rollout": regions(1.3)}),
        "apart": attention_figures.apart(corpus, apart(0.05)),
        "faithful": attention_figures.faithful(corpus, DRAWN, DRAWS),
        "pointing": attention_figures.pointing(corpus, DRAWN, DRAWS),
        "effects": attention_figures.effects(corpus, DRAWN, DRAWS),
        "follows": attention_figures.follows(corpus, DRAWN, DRAWS),
        "shortcut": attention_figures.shortcut(corpus, tried(0.1, 0.1), DRAWS),
    }


def test_every_figure_says_whether_its_corpus_is_synthetic_and_what_its_axes_measure():
    films = measured(FILMS)
    for name, figure in measured(SYNTHETIC).items():
        assert "synthetic corpus" in texts(figure), name
        assert "synthetic corpus" not in texts(films[name]), name
        assert all(axes.get_xlabel() for axes in figure.axes), name


def test_where_nothing_can_be_drawn_again_figures_say_so():
    for figure in (
        attention_figures.pointing(FILMS, BLIND, DRAWS),
        attention_figures.effects(FILMS, BLIND, DRAWS),
        attention_figures.follows(FILMS, BLIND, DRAWS),
        attention_figures.shortcut(FILMS, None, DRAWS),
    ):
        assert "does not know its causes" in texts(figure)
    assert "taken away" in texts(attention_figures.effects(SYNTHETIC, BLIND, DRAWS))
    for draw in (attention_pictures.sample, attention_pictures.heads, attention_pictures.together):
        assert "No clip of a test subject" in texts(draw(SYNTHETIC, None))


def test_the_effects_of_units_stand_where_they_are():
    axes = attention_figures.effects(SYNTHETIC, DRAWN, DRAWS).axes[0]
    (points,) = (line for line in axes.lines if line.get_marker() == "o")
    assert points.get_xdata() == pytest.approx([-0.5, 1, 0], abs=0.03)
    assert axes.get_yticklabels()[0].get_text() == "AU4 (80 samples, 20 people)"


@pytest.mark.parametrize("dataset", ["synthetic", "unbc"])
def test_pictures_show_maps_and_faces_only_where_they_may(dataset):
    corpus, one = telling(dataset)
    for draw in (attention_pictures.heads, attention_pictures.together):
        panels = [axes for axes in draw(corpus, one).axes if axes.get_title(loc="left")]
        drawn = {len(axes.images) for axes in panels if axes.images}
        assert drawn == ({2} if dataset == "synthetic" else {1})
    frames = attention_pictures.sample(corpus, one).axes
    assert [bool(axes.images) for axes in frames] == [dataset == "synthetic"] * 4


def test_the_sample_is_told_beside_the_papers():
    _, one = telling()
    said = description.sample_sentence(one)
    assert "frames 1 to 4, with PSPI 0, 6, 7, 7" in said and "of fold 2" in said
    heads = np.full((4, 4, 6, 6), 1 / 144, np.float32)
    even = description.heads_sentence(one._replace(heads=heads))
    assert even.count("1.00 times") == 4


def test_what_is_not_told_apart_is_not_called_learnt():
    (same,) = description.regions_sentences({"rollout": regions(1.12)}, {"rollout": less(1.12)})
    assert "in none of them more than in both" in same
    (more,) = description.regions_sentences({"rollout": regions(1.5)}, {"rollout": less(1.5)})
    assert f"before fine-tuning in {', '.join(REGIONS)}, by at most 0.40" in more
    assert "not done the same" in description.apart_sentence(apart(0.05))
    assert "moved heads apart in all" in description.apart_sentence(apart(0.055))
    assert "moved heads together in all" in description.apart_sentence(apart(0.01))


def test_a_shortcut_is_found_only_on_all_pictures_and_beyond_another_seed():
    used, found = description.shortcut_sentences(tried(0.1, 0.1), DRAWS)
    assert "is used" in used and "+0.10" in used
    assert "by good" in found
    used, found = description.shortcut_sentences(tried(0.0, 0.0), DRAWS)
    assert "not seen to be used" in used and "not found by any method" in found
    one = tried(0.1, 0.1)
    also = one.shares["share"].where(
        (one.shares["model"] != MODELS[2]) | (one.shares["method"] != "good"), 0.3
    )
    _, found = description.shortcut_sentences(
        replace(one, shares=one.shares.assign(share=also)), DRAWS
    )
    assert "not found by any method" in found


def test_sentences_on_causes_follow_the_numbers():
    causes, follows = description.effects_sentences(DRAWN, DRAWS)
    assert "for: AU6 by 0." in causes and "AU4" not in causes
    assert "trained - pretrained +0.00" in follows
    (better,) = description.faithful_sentences(DRAWN, DRAWS)
    assert better.endswith("better than random order: good +0.30 [+0.30, +0.30].")
    assert "good by 0.50 [0.50, 0.50]." in description.pointing_sentence(DRAWN, DRAWS)
    assert description.effects_sentences(BLIND, DRAWS) == [description.NOT_HERE]
    less = description.units_sentence(
        pd.DataFrame({"unit": [4, 6, 7], "low": [0.1, -0.1, -0.3], "high": [0.2, 0.1, -0.1]})
    )
    assert "more in its regions for AU4 and less for AU7;" in less
    assert MINUS not in less


def test_findings_answer_each_reading_of_the_paper(monkeypatch):
    monkeypatch.setattr(description, "MAPS", METHODS)
    said = description.findings(
        {"rollout": regions(1.5)},
        {"rollout": less(1.5)},
        apart(0.05),
        DRAWN,
        tried(0.1, 0.1),
        DRAWS,
    )
    assert all(reading in said for reading in paper.READINGS)
    assert said.count("\n") == len(paper.READINGS)
