import json
import re

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from paincore.ablations import reference
from paincore.ablations.reference import ReferenceFileError
from tests.ablations.test_search import peak, search
from tools import check_results

RESTS_ON = {
    "store": "s", "design": "balanced", "backbone": "b", "engine": 7, "device": "cpu",
}  # fmt: skip
BEST = peak(6, 2e-5)


def searched(hits=BEST, **other):
    found = search(hits, folds=3)
    for ablation in found.values():
        for runs in ablation.runs.values():
            for run in runs:
                run.rests_on.update(RESTS_ON | other)
    return found


def moved(by: dict):
    """`peak`, with so many hits more at each learning rate in fold 1."""

    def hits(one, fold, seed):
        return BEST(one, fold, seed) + (by.get(one.learning_rate, 0) if fold == 1 else 0)

    return hits


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "reference" / "demo.json"
    reference.write_reference(searched(), path)
    return path


def test_results_equal_the_reference_that_they_wrote(written):
    known = reference.read_reference(written)
    assert reference.notes(searched(), known) == []
    table = reference.compare(searched(), known)
    assert len(table) == 28 * 2 * (3 + 1)
    assert table["within"].all()
    assert (table["difference"] == 0).all()
    assert [file.name for file in written.parent.iterdir()] == ["demo.json"]


def test_a_reference_holds_each_trials_scores_and_what_was_chosen(written):
    content = json.loads(written.read_text())
    assert content["engine"] == 7
    vit = content["models"]["vit"]
    assert vit["chosen"] == dict.fromkeys(("rate", "best"), "ViT 6 layers, 2e-5") | {
        "layers": "ViT 6 layers, 2e-4"
    }
    assert [trial["step"] for trial in vit["trials"]] == (
        ["layers"] * 6 + ["rate"] * 4 + ["sam"] + ["mixup"] * 3
    )
    best = vit["trials"][8]
    assert (best["value"], best["folds"]) == (2e-5, [1, 2, 3])
    np.testing.assert_allclose(best["f1"], 18 / 19)  # 9 hits of 10, no false alarm
    assert best["mean_f1"] == pytest.approx(18 / 19)


def test_a_figure_beyond_its_tolerance_is_named_with_fold_and_mean(written):
    table = reference.compare(searched(moved({2e-6: -1})), reference.read_reference(written))
    wrong = table[~table["within"]]
    assert set(wrong["configuration"]) == {"ViT 6 layers, 2e-6", "ViViT 6 layers, 2e-6"}
    assert set(wrong["fold"]) == {"1", "mean"}
    row = wrong[(wrong["score"] == "f1") & (wrong["fold"] == "1")].iloc[0]
    assert row["difference"] == pytest.approx(14 / 17 - 16 / 18)


def test_where_a_training_falls_apart_more_is_tolerated(written):
    table = reference.compare(searched(moved({2e-2: -1})), reference.read_reference(written))
    changed = table[table["difference"] != 0]
    assert len(changed)
    assert changed["within"].all()
    steady = reference.compare(searched(moved({2e-5: -1})), reference.read_reference(written))
    assert not steady["within"].all()


def test_another_path_is_said_first_and_what_is_common_is_compared(written):
    other = searched(peak(8, 2e-5), engine=8)
    known = reference.read_reference(written)
    first, *_, last = reference.notes(other, known)
    assert first.startswith("ViT: the best number of layers is ViT 8 layers, 2e-4 here and ViT 6")
    assert "in common are compared" in first
    assert "ENGINE_VERSION" in last
    table = reference.compare(other, known)
    assert table["configuration"].nunique() == 2 * 6  # the step of layers


def test_a_fold_without_f1_is_equal_to_one_without_and_to_no_other(tmp_path):
    def hits(one, fold, seed):
        return None if fold == 2 else 5

    path = tmp_path / "r.json"
    reference.write_reference(searched(hits), path)
    known = reference.read_reference(path)
    assert "NaN" not in path.read_text()
    assert reference.compare(searched(hits), known)["within"].all()
    table = reference.compare(searched(lambda *_: 5), known)
    assert set(table.loc[~table["within"], "fold"]) == {"2"}


@pytest.mark.parametrize("name", ["store", "design", "backbone"])
def test_results_of_other_data_are_refused(written, name):
    known = reference.read_reference(written)
    with pytest.raises(ReferenceFileError, match=f"the reference has {name}"):
        reference.notes(searched(**{name: "another"}), known)


def test_another_processor_is_said(written):
    known = reference.read_reference(written)
    known["made_with"]["cpu_capability"] = "AVX2"
    (said,) = reference.notes(searched(), known)
    assert said.startswith("cpu_capability: ")
    assert "AVX2 in the reference" in said


def test_a_failed_run_is_noted_here_and_refused_in_a_reference(written, tmp_path):
    failing = searched(lambda one, *_: "failed" if one.sam else BEST(one, *_))
    notes = reference.notes(failing, reference.read_reference(written))
    assert len(notes) == 6
    assert all(re.search(r"SAM failed here on fold \d: the loss is nan", note) for note in notes)
    with pytest.raises(ReferenceFileError, match="a reference needs every run"):
        reference.write_reference(failing, tmp_path / "new.json")
    assert not (tmp_path / "new.json").exists()


def test_a_missing_damaged_or_older_reference_is_named(written, tmp_path):
    with pytest.raises(ReferenceFileError, match="is not there"):
        reference.read_reference(tmp_path / "none.json")
    whole = written.read_text()
    for damage in (whole[:100], "[]", whole.replace('"mean_auc"', '"x"', 1), "{}"):
        written.write_text(damage)
        with pytest.raises(ReferenceFileError, match="is damaged"):
            reference.read_reference(written)
    written.write_text(whole.replace('"version": 2', '"version": 1', 1).replace("engine", "source"))
    with pytest.raises(ReferenceFileError, match="is of version 1"):
        reference.read_reference(written)


def test_the_tool_exits_with_1_and_prints_what_differs(written, monkeypatch):
    app = typer.Typer()
    app.command()(check_results.main)

    def said(hits) -> tuple[int, str]:
        monkeypatch.setattr(check_results, "searched", lambda *_: searched(hits))
        found = CliRunner().invoke(app, ["--file", str(written)])
        return found.exit_code, found.output

    assert said(BEST) == (0, "224 figures of 28 configurations: 224 equal, 0 beyond "
                                      "tolerance.\n")  # fmt: skip
    code, output = said(moved({2e-6: -1}))
    assert code == 1
    assert "ViT 6 layers, 2e-6" in output
    code, output = said(peak(8, 2e-5))
    assert output.startswith("ViT: the best number of layers")
