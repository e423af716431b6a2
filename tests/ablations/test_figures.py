from types import SimpleNamespace

import numpy as np
import pytest

from paincore.ablations import figures
from paincore.manifest import dataset_named
from paincore.style import PAPER, THIS
from tests.ablations.test_search import peak, search
from tests.data.test_figures import is_sentence, texts

SYNTHETIC, FILMS = (SimpleNamespace(dataset=dataset_named(name)) for name in ("synthetic", "unbc"))
DRAWN = (figures.layers, figures.rates, figures.sam, figures.mixup)
COLUMNS = {figures.layers: 6, figures.rates: 5, figures.sam: 2, figures.mixup: 4}
SAID = {  # what sections 4.1 to 4.4 of the paper say of ViT and of ViViT, by column
    figures.layers: ({"6": 0.45, "12": 0.47}, {"6": 0.55, "12": 0.53}),
    figures.rates: ({"2e-4": 0.47, "2e-5": 0.55, "2e-6": 0.50}, {"2e-4": 0.55, "2e-6": 0.49}),
    figures.sam: ({"without": 0.55, "with\n(rho 0.05)": 0.50},
                  {"without": 0.55, "with\n(rho 0.05)": 0.40}),
    figures.mixup: ({"without": 0.55, "0.8": 0.52}, {"without": 0.55, "0.8": 0.52}),
}  # fmt: skip


@pytest.fixture(scope="module")
def both():
    return search(peak(6, 2e-4))


@pytest.fixture(scope="module")
def failing():
    return search(
        lambda one, *_: "failed" if one.unfrozen_layers == 4 or one.sam else peak(6, 2e-3)(one, *_),
        ["vivit"],
    )


def words(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("draw", DRAWN)
def test_each_model_has_a_panel_with_a_column_for_each_value(draw, both):
    figure = draw(SYNTHETIC, both)
    vit, vivit = figure.axes[:2]
    assert (vit.get_title(loc="left"), vivit.get_title(loc="left")) == ("ViT", "ViViT")
    for axes in (vit, vivit):
        assert len(axes.get_xticks()) == COLUMNS[draw]
        assert axes.get_xlabel()
    assert vit.get_ylabel() == "F1"


@pytest.mark.parametrize("draw", DRAWN)
def test_every_number_of_the_papers_text_stands_in_its_figure_and_no_other(draw, both):
    for axes, said in zip(draw(SYNTHETIC, both).axes, SAID[draw], strict=False):
        columns = [label.get_text() for label in axes.get_xticklabels()]
        squares = [line for line in axes.lines if line.get_color() == PAPER]
        drawn = {columns[round(one.get_xdata()[0])]: one.get_ydata()[0] for one in squares}
        assert drawn == said
        assert words(axes).count("not printed") == COLUMNS[draw] - len(said)
        assert {f"{value:.2f}" for value in said.values()} <= set(words(axes))


@pytest.mark.parametrize("draw", DRAWN)
def test_one_column_of_each_panel_is_marked_as_kept(draw, both):
    for axes in draw(SYNTHETIC, both).axes[:2]:
        assert len([patch for patch in axes.patches if patch.get_alpha()]) == 1


def test_each_fold_is_a_point_and_their_mean_a_diamond_with_its_spread(both):
    axes = figures.layers(SYNTHETIC, both).axes[0]
    six = both["vit"].scores.query("step == 'layers' and value == 6")["f1"]
    drawn = [line for line in axes.lines if np.allclose(line.get_xdata(), 2 + figures.FOLDS_AT)]
    np.testing.assert_allclose(drawn[0].get_ydata(), six)
    (mean,) = (line for line in axes.lines if line.get_marker() == "D"
               and np.allclose(line.get_xdata(), 2 + figures.MEAN_AT))  # fmt: skip
    assert mean.get_ydata()[0] == pytest.approx(six.mean())
    assert f"{six.mean():.2f}" in words(axes)


def test_a_failed_configuration_is_a_gap_with_the_word(failing, both):
    axes = figures.layers(SYNTHETIC, failing).axes[0]
    assert words(axes).count("failed") == 1
    assert not [line for line in axes.lines if np.allclose(line.get_xdata(), 1 + figures.FOLDS_AT)]
    assert "failed" in words(figures.sam(SYNTHETIC, failing).axes[0])
    assert "failed" not in words(figures.layers(SYNTHETIC, both).axes[0])


def test_a_failed_rate_is_a_gap_in_both_panels_of_rates():
    found = search(lambda one, *_: "failed" if one.learning_rate == 2e-2 else 5, ["vit"])
    scores, moved = figures.rates(SYNTHETIC, found).axes
    assert "failed" in words(scores)
    assert words(moved)[0] == "failed"


def test_one_model_alone_has_a_panel_of_its_own(failing):
    assert [len(draw(SYNTHETIC, failing).axes) for draw in DRAWN] == [1, 2, 1, 1]


def test_values_of_mixup_that_are_inferred_say_so(both):
    axes = figures.mixup(SYNTHETIC, both).axes[0]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["without", "0.2\n(inferred)", "0.5\n(inferred)", "0.8"]


def test_below_the_rates_stand_their_steps_and_how_far_weights_moved(both):
    moved = figures.rates(SYNTHETIC, both).axes[2]
    assert moved.get_title(loc="left") == "96 to 97 steps; the paper's: 2,420"
    assert words(moved) == ["200 %", "20 %", "2 %", "0.2 %", "0.02 %"]
    assert moved.get_yscale() == "log"
    low, high = moved.get_ylim()
    assert low < 0.02 < 200 < high


def test_folds_without_an_f1_leave_a_figure_whole():
    found = search(lambda one, fold, seed: None if fold == 2 else 5, ["vit"])
    axes = figures.layers(SYNTHETIC, found).axes[0]
    assert "failed" not in words(axes)
    assert words(axes).count("0.67") == 6


def test_the_two_best_rates_stand_fold_by_fold_with_the_papers_means(both):
    figure = figures.two_best_rates(SYNTHETIC, both, "greedy")
    each, means = figure.axes
    best, second = each.lines
    assert (best.get_color(), second.get_color()) == (THIS, figures.SECOND)
    assert len(best.get_ydata()) == len(second.get_ydata()) == 2
    assert words(means) == ["ViViT-1\n2e-4\n0.55\n± 0.13", "ViViT-2\n2e-6\n0.49\n± 0.04"]
    assert "not printed" in each.get_title(loc="left")


def test_where_there_are_not_two_rates_of_vivit_a_sentence_stands(both):
    figure = figures.two_best_rates(SYNTHETIC, {"vit": both["vit"]}, "greedy")
    assert is_sentence(figure)
    assert "trained ViT alone" in texts(figure)


def test_a_figure_says_whether_its_corpus_is_synthetic(both):
    for draw in (*DRAWN, lambda *given: figures.two_best_rates(*given, "greedy")):
        assert "synthetic corpus" in texts(draw(SYNTHETIC, both))
        assert "synthetic corpus" not in texts(draw(FILMS, both))
