import pytest

from paincore.ablations import figures
from paincore.style import PAPER, THIS
from tests.helpers.drawn import LICENSED, SYNTHETIC, assert_drawn_for
from tests.helpers.searched import peak, search

WITH_SAM = "with\n(rho 0.05)"
PRINTED = {  # what sections 4.1 to 4.4 of the paper say of ViT and of ViViT, by column
    "layers": ({"6": 0.45, "12": 0.47}, {"6": 0.55, "12": 0.53}),
    "rate": ({"2e-4": 0.47, "2e-5": 0.55, "2e-6": 0.50}, {"2e-4": 0.55, "2e-6": 0.49}),
    "sam": ({"without": 0.55, WITH_SAM: 0.50}, {"without": 0.55, WITH_SAM: 0.40}),
    "mixup": ({"without": 0.55, "0.8": 0.52}, {"without": 0.55, "0.8": 0.52}),
}


@pytest.fixture(scope="module")
def both():
    return search(peak(6, 2e-4))


@pytest.fixture(scope="module")
def failing():
    """ViViT alone; 4 layers, SAM and the rate 2e-2 fail, fold 2 has no pain."""

    def hits(one, fold, seed):
        if one.unfrozen_layers == 4 or one.sam or one.learning_rate == 2e-2:
            return "failed"
        return None if fold == 2 else peak(6, 2e-3)(one)

    return search(hits, ["vivit"])


def words(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def draw(name: str, corpus, ablations):
    if name == "two rates":
        return figures.two_best_rates_figure(corpus, ablations, "greedy")
    return figures.step_figure(corpus, ablations, name)


@pytest.mark.parametrize("name", [*PRINTED, "two rates"])
def test_each_figure_is_whole_whatever_failed_and_says_what_its_corpus_is(name, both, failing):
    for corpus in (SYNTHETIC, LICENSED):
        for ablations in (both, failing):
            figure = draw(name, corpus, ablations)
            assert_drawn_for(corpus, figure)
            gaps = sum(words(axes).count("failed") for axes in figure.axes)
            assert gaps == (ablations is failing and name in ("layers", "rate", "sam"))


@pytest.mark.parametrize("step", PRINTED)
def test_every_number_of_the_papers_text_stands_in_its_figure_and_no_other(step, both):
    for axes, printed in zip(draw(step, SYNTHETIC, both).axes, PRINTED[step], strict=False):
        columns = [label.get_text() for label in axes.get_xticklabels()]
        squares = [line for line in axes.lines if line.get_color() == PAPER]
        drawn = {columns[round(one.get_xdata()[0])]: one.get_ydata()[0] for one in squares}
        assert drawn == printed
        assert words(axes).count("not printed") == len(columns) - len(printed)
        assert {f"{value:.2f}" for value in printed.values()} <= set(words(axes))


def test_each_fold_is_a_point_and_their_mean_a_diamond(both):
    axes = draw("layers", SYNTHETIC, both).axes[0]
    scores = both["vit"].scores
    six = scores[scores["title"] == "ViT 6 layers, 2e-4"]["f1"]
    at = {line.get_xdata()[0]: line.get_ydata() for line in axes.lines if line.get_color() == THIS}
    assert at[2 + figures.FOLDS_AT] == pytest.approx(six.to_numpy())
    assert at[2 + figures.MEAN_AT] == pytest.approx([six.mean()])


def test_below_the_rates_stand_their_steps_and_how_far_weights_moved(both):
    moved = draw("rate", SYNTHETIC, both).axes[2]
    assert moved.get_title(loc="left") == "96 to 97 steps; the paper's: 2,420"
    assert words(moved) == ["200 %", "20 %", "2 %", "0.2 %", "0.02 %"]


def test_the_two_best_rates_stand_fold_by_fold_with_the_papers_means(both):
    (axes,) = draw("two rates", SYNTHETIC, both).axes
    folds = [line.get_color() for line in axes.lines if len(line.get_xdata()) == 2]
    assert folds == [THIS, figures.SECOND]
    theirs = [line.get_ydata()[0] for line in axes.lines if line.get_color() == PAPER]
    assert theirs == [0.55, 0.49]
    assert words(axes) == ["ViViT-1", "ViViT-2"]
    assert not draw("two rates", SYNTHETIC, {"vit": both["vit"]}).axes[0].lines
