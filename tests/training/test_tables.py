import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from paincore.folds.designs import Fold
from paincore.registration.framestore import FrameStore
from paincore.statistics.bootstrap import Difference, resample_subjects
from paincore.style import MINUS
from paincore.training import tables as description
from paincore.training.comparison import VIEWS
from paincore.training.configuration import configure
from paincore.training.runs import Run
from tests.helpers.predicted import predictions


@pytest.fixture
def store(tmp_path) -> FrameStore:
    """Ten people with twelve frames each, two of them pain; one frame without a face."""
    frames = pd.DataFrame(
        {
            "subject": np.repeat([f"s{i}" for i in range(10)], 12),
            "sequence": np.repeat([f"s{i}a" for i in range(10)], 12),
            "frame": np.tile(np.arange(1, 13), 10),
            "state": "ok",
        }
    )
    frames["pain"] = pd.array(frames["frame"].isin([6, 7]), "boolean")
    frames.loc[0, "state"] = "no_face"
    return FrameStore(tmp_path, np.zeros((120, 8, 8, 3), np.uint8), frames, {"fingerprint": "f"})


@pytest.fixture
def folds(store) -> list[Fold]:
    rows = np.arange(1, 120)
    first = rows < 60
    return [
        Fold("balanced", 1, rows[~first], rows[first]),
        Fold("balanced", 2, rows[first], rows[~first]),
    ]


def counts(**settings) -> pd.DataFrame:
    table = description.parameters_table([configure(backbone="random", **settings)])
    return table.set_index("part of the model")


def test_what_the_models_hold_is_what_is_known_of_vit_b16():
    assert counts().loc["attention", "ViT here"] == "199,680 trained"
    released = counts(protocol="released").loc["all", "ViT on ViT-B/16"]
    assert released == "50,392,322 trained, 35,407,872 frozen"


def test_half_of_the_attention_trains_with_six_layers():
    cell = counts(unfrozen_layers=6).loc["attention", "ViT on ViT-B/16"]
    assert cell == "14,174,208 trained, 14,174,208 frozen"


def test_every_choice_of_the_models_is_listed_with_its_protocol():
    table = description.inferred_table()
    assert {"dropout", "ViViT positions", "LayerNorms"} <= set(table["left open"])
    assert set(table["protocol"]) == {"paper", "released notebook", "both"}


def test_settings_are_those_of_the_configuration():
    table = description.settings_table(configure(learning_rate=2e-5, unfrozen_layers=4))
    values = table.set_index("setting")["value"]
    assert (values["learning rate"], values["attention layers that train"]) == ("2e-5", "4")
    assert "ε 1e-8" in values["optimiser"]


def test_frames_that_are_left_out_and_samples_add_up_to_the_table(store):
    configurations = [configure(), configure(model="vivit", clip_stride=2)]
    table = description.left_out_table(store, configurations).set_index("what keeps a frame out")
    counts = table.astype(int)
    assert counts.sum().tolist() == [120, 120]
    # the last of four, of twelve frames nine, of eleven eight, and every second of those
    assert counts.loc["none: it is the last of a sample"].tolist() == [119, 9 * 5 + 4]
    assert (counts > 0).any(axis=1).all()


def test_draws_are_half_pain_and_test_samples_stay_as_they_are(store, folds):
    table = description.draws_table(store, configure(backbone="random"), folds)
    assert table["fold"].tolist() == [1, 2]
    assert table["samples"].tolist() == [60, 59]
    np.testing.assert_allclose(table["trained"], [100 / 6, 1000 / 59])
    np.testing.assert_allclose(table["tested"], [1000 / 59, 100 / 6])
    assert table["drawn"].between(30, 70).all()


def test_baselines_that_are_there_have_their_names_in_order():
    table = predictions()
    names = description.named({"chance": table, "blendshapes": table})
    assert list(names) == ["52 blendshapes", "chance"]


def test_histories_are_averaged_over_seeds(tmp_path):
    runs = []
    for number, loss in enumerate((1.0, 3.0)):
        folder = tmp_path / str(number)
        folder.mkdir()
        history = pd.DataFrame({"step": [1, 2], "loss": [loss, loss / 2], "accuracy": 0.5})
        history.to_parquet(folder / "history.parquet")
        runs.append(Run(folder, configure(), {"seed": number, "fold": 4}, {}, {}))
    table = description.histories(runs)
    assert table["loss"].tolist() == [2.0, 1.0]
    assert table[["model", "fold"]].drop_duplicates().to_numpy().tolist() == [["ViT", 4]]


def test_what_a_model_trained_on_is_told_from_its_lowest_to_its_highest_fold():
    def run(configuration, fold, steps):
        metrics = {"train_samples": 16 * steps, "steps": steps}
        rests_on, environment = {"fold": fold, "seed": 0}, {"train_seconds": steps / 10}
        return Run(Path("made up"), configuration, rests_on, metrics, environment)

    clips = configure(model="vivit", clip_stride=2)
    runs = [run(configure(), 1, 95), run(configure(), 2, 102), run(clips, 1, 47), run(clips, 2, 47)]
    table = description.training_table(runs).set_index("model")
    assert table["frames a sample"].to_dict() == {"ViT": "1", "ViViT": "4"}
    assert table["steps"].to_dict() == {"ViT": "95 to 102", "ViViT": "47"}
    assert table["samples"].to_dict() == {"ViT": "1,520 to 1,632", "ViViT": "752"}
    assert table["seconds"].to_dict() == {"ViT": "9.5 to 10.2", "ViViT": "4.7"}


def known() -> pd.DataFrame:
    """Two folds of two people: F1 is 1 in the first and 1/2 in the second."""
    rows = []
    for fold, said in ((1, [1, 1, 0, 0]), (2, [1, 0, 1, 0])):
        for subject in "ab":
            rows += [
                (fold, f"{subject}{fold}", "q", frame, frame <= 2, 0.9 if s else 0.2)
                for frame, s in enumerate(said, start=1)
            ]
    columns = ["fold", "subject", "sequence", "frame", "pain", "probability"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(sequence=table["subject"], corrected=table["probability"] / 2)


def test_scores_are_printed_by_fold_over_folds_and_pooled_with_an_interval():
    table = known()
    rows = description.scores_table({"ViT": table}, resample_subjects(table)).set_index("fold")
    assert rows["F1"].tolist() == ["1.00", "0.50", "0.75 ± 0.35", "0.75 [0.75, 0.75]"]
    assert rows.loc[["1", "pooled"], "pain"].tolist() == ["4 of 8", "8 of 16"]
    row = description.comparison_table({"x": table}, resample_subjects(table)).iloc[0]
    assert row["F1, folds"] == "0.75 ± 0.35"
    assert row["F1, pooled"] == "0.75 [0.75, 0.75]"


def test_a_score_that_is_not_defined_is_a_dash():
    table = known()
    table.loc[table["fold"] == 2, "pain"] = False
    rows = description.scores_table({"ViT": table}, resample_subjects(table)).set_index("fold")
    assert rows.loc["2", ["F1", "AUC", "recall"]].tolist() == ["-", "-", "-"]
    assert rows.loc["mean ± sd", "F1"] == "1.00 ± -"
    assert description.number(-0.314) == f"{MINUS}0.31"


def flipped(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(probability=1 - table["probability"])


def test_the_margin_over_always_pain_flips_with_the_predictions():
    good = predictions(folds=5, subjects=5, signal=4.0)
    sentence = description.margin_sentence("ViT", good)
    assert " above that of always" in sentence
    assert "in 5 of 5" in sentence
    assert "here, on 500, it is." in sentence
    sentence = description.margin_sentence("ViT", flipped(good))
    assert " below that of always" in sentence
    assert "in 0 of 5" in sentence
    assert "here, on 500, **it is not**." in sentence


def test_a_difference_flips_its_sign_and_its_word():
    good, bad = predictions(signal=4.0), predictions(signal=0.0, seed=1)
    bad["pain"] = good["pain"]
    draws = resample_subjects(good)
    up = description.difference_sentence("one", "two", good, bad, draws)
    down = description.difference_sentence("one", "two", bad, good, draws)
    assert re.search(r"AUC \+0\.\d\d \[\+.*: higher\.", up)
    assert re.search(rf"AUC {MINUS}0\.\d\d \[{MINUS}.*: lower\.", down)


def test_two_that_do_not_differ_are_not_told_apart():
    table = predictions()
    sentence = description.difference_sentence("one", "two", table, table, resample_subjects(table))
    assert sentence.count("+0.00 [+0.00, +0.00], by fold from +0.00 to +0.00: not told apart") == 2


def at(low: float, high: float) -> Difference:
    return Difference((low + high) / 2, low, high, np.array([low, high]))


CHANGES = "By backbone: higher with `movement`, "
UNTESTED = "; whether backbones differ was not tested."
UNTOLD = "With no backbone the two can be told apart; "


@pytest.mark.parametrize(
    ("movement", "general", "said"),
    [
        (at(0.1, 0.2), at(0.1, 0.3), "With every backbone it is higher."),
        (at(-0.2, -0.1), at(-0.3, -0.1), "With every backbone it is lower."),
        (at(0.1, 0.2), at(-0.3, -0.1), CHANGES + "lower with `general`" + UNTESTED),
        (at(0.1, 0.2), at(-0.1, 0.3), CHANGES + "not told apart with `general`" + UNTESTED),
        (at(-0.1, 0.2), at(-0.1, 0.3), UNTOLD + "the sign is the same with all."),
        (at(-0.1, 0.2), at(-0.3, 0.1), UNTOLD + "the sign changes with the backbone."),
    ],
)
def test_a_conclusion_that_changes_with_the_backbone_is_marked(movement, general, said):
    assert description.mark({"movement": movement, "general": general}) == said


def test_views_are_compared_for_each_backbone_by_both_scores():
    good, bad = predictions(signal=4.0), flipped(predictions(signal=4.0))
    frontal, crop = VIEWS
    views = {("movement", frontal): good, ("movement", crop): bad}
    views |= {("general", frontal): bad, ("general", crop): good}
    by_f1, by_auc, *above = description.views_sentences(views, resample_subjects(good))
    for sentence in (by_f1, by_auc, *above):
        assert "whether backbones differ was not tested" in sentence
    assert "higher with `movement`, lower with `general`" in by_auc
    assert "Frontal views less plain crops, pooled F1" in by_f1
    assert above[0].startswith(
        "Pooled F1 less that of always saying pain, on frontal views: `movement` +"
    )


def test_a_control_that_learned_something_is_not_passed_over():
    nothing, something = predictions(signal=0.0, seed=3), predictions(signal=4.0)
    assert "0.5 lies within" in description.control_sentence(nothing, resample_subjects(nothing))
    sentence = description.control_sentence(something, resample_subjects(something))
    assert "**0.5 lies outside**" in sentence


def test_probabilities_are_told_raw_and_corrected():
    table = known().assign(probability=0.6, corrected=0.3)
    table["pain"] = np.arange(len(table)) % 4 == 0
    sentence = description.calibration_sentence("ViT", table)
    assert "of 60 % on average, where 25 % of the samples are pain; corrected for that, 30 %" in (
        sentence
    )
    assert "from 0.31 to 0.19" in sentence  # 0.25 * 0.16 + 0.75 * 0.36, 0.25 * 0.49 + 0.75 * 0.09


def test_findings_say_what_was_not_compared_and_name_each_baseline():
    table = predictions(folds=5, subjects=5)
    draws = resample_subjects(table)
    tested = {"ViT": table, "ViViT": table}
    said = description.findings(tested, {"landmarks": table}, None, table, draws)
    assert description.NOT_COMPARED in said
    assert "ViT less 66 landmarks" in said
    assert "blendshapes" not in said
    views = {(backbone, view): table for backbone in ("movement", "random") for view in VIEWS}
    said = description.findings(tested, {"landmarks": table}, views, table, draws)
    assert description.NOT_COMPARED not in said
    assert said.count("\n- ") == 11
    assert "nan" not in said


def test_a_second_seed_with_the_same_predictions_changes_no_finding():
    table = predictions(folds=5, subjects=5)
    twice = pd.concat([table.assign(seed=0), table.assign(seed=1)], ignore_index=True)
    draws = resample_subjects(table)
    one, two = (
        description.findings({"ViT": part, "ViViT": part}, {"landmarks": table}, None, part, draws)
        for part in (table, twice)
    )
    assert one == two
