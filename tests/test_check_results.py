from types import SimpleNamespace
from unittest.mock import MagicMock

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from tests.helpers.searched import peak, search
from tools import check_results
from tools.check_results import ReferenceFileError

BEST = peak(6, 2e-5)
FRAMES = pd.DataFrame({"subject": ["a"], "sequence": ["s"], "frame": [1], "pain": [True]})


def searched(hits=BEST, **rests_on):
    found = search(hits, ["vit"], folds=2)
    known = {"design": "balanced", "backbone": "b", "engine": 7, "device": "cpu"} | rests_on
    for runs in (runs for ablation in found.values() for runs in ablation.runs.values()):
        for run in runs:
            run.rests_on.update(known)
    return found


def moved(rate: float, by: int = -1):
    """`BEST`, with so many hits more at one learning rate in fold 1."""
    return lambda one, fold, seed: (
        BEST(one, fold, seed) + by * (fold == 1 and one.learning_rate == rate)
    )


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Runs the tool on a made-up search, with one reference file."""
    file, app = tmp_path / "reference" / "demo.json", typer.Typer()
    app.command()(check_results.main)

    def run(hits=BEST, *options, frames=FRAMES, **rests_on):
        study = MagicMock(seeds=1, corpus=SimpleNamespace(frames=frames))
        monkeypatch.setattr(check_results, "open_study", lambda *_, **__: study)
        monkeypatch.setattr(check_results, "ablate", lambda *_, **__: searched(hits, **rests_on))
        found = CliRunner().invoke(app, ["--file", str(file), *options])
        return found.exit_code, found.output

    assert run(BEST, "--write")[0] == 0
    assert [path.name for path in file.parent.iterdir()] == ["demo.json"]
    return run, file


def test_results_equal_the_reference_that_they_wrote(tool):
    run, file = tool
    code, said = run()
    assert code == 0 and "84 scores of 14 configurations: 84 equal, 0 beyond" in said
    known, scores = check_results.read_reference(file)
    assert known["made_with"]["engine"] == 7 and len(scores) == 14 * 2


def test_a_score_beyond_the_tolerance_of_its_rate_is_named_with_fold_and_mean(tool):
    run, file = tool
    assert [run(moved(rate))[0] for rate in (2e-2, 2e-6)] == [0, 1]  # 2e-2 may fall apart
    here = check_results.scores_of(searched(moved(2e-6)))
    table = check_results.compared_scores(here, check_results.read_reference(file)[1])
    wrong = table[~table["within"]]
    assert set(wrong["configuration"]) == {"ViT 6 layers, 2e-6"}
    assert set(wrong["fold"]) == {"1", "mean"}


def test_a_fold_without_f1_equals_one_without_and_no_other(tool):
    run, file = tool

    def hits(one, fold, seed):
        return None if fold == 2 else 5

    run(hits, "--write")
    assert "NaN" not in file.read_text()
    assert [run(other)[0] for other in (hits, lambda *_: 5)] == [0, 1]


def test_other_data_is_refused_and_another_processor_is_not(tool):
    run, _ = tool
    for other in ({"frames": FRAMES.assign(pain=False)}, {"design": "x"}, {"backbone": "x"}):
        code, said = run(**other)
        assert code == 1 and "compare the same data" in said
    code, said = run(engine=8)
    assert code == 0 and "engine: 8 here, 7 in the reference" in said


def test_a_failed_run_is_refused_in_a_reference(tool):
    code, said = tool[0](lambda one, *_: "failed" if one.sam else BEST(one, *_), "--write")
    assert code == 1 and "SAM failed on fold 1: the loss is nan" in said


def test_a_missing_or_damaged_reference_is_named(tool, tmp_path):
    file = tool[1]
    whole = file.read_text()
    for damage in (whole[:100], "[]", whole.replace('"auc"', '"x"'), "{}"):
        file.write_text(damage)
        with pytest.raises(ReferenceFileError, match=r"demo\.json is damaged"):
            check_results.read_reference(file)
    with pytest.raises(ReferenceFileError, match="is not there"):
        check_results.read_reference(tmp_path / "none.json")
