import numpy as np
import pandas as pd
import pytest

from paincore import PaincoreError, paper
from paincore.folds.designs import default_design
from paincore.profiles import profile_named
from paincore.study import StudyError, open_study
from paincore.training.configuration import ConfigurationError


def test_a_study_is_what_its_profile_says_unless_something_else_is_given(drawn_corpus, tmp_path):
    where = ("demo", "synthetic", drawn_corpus.root, tmp_path)
    study = open_study(*where)
    given = open_study(*where, seeds=3, backend="none", protocol="released", backbone="general")
    assert (study.seeds, study.backend, study.design) == (1, "landmarker", "pair_and_shuffle")
    assert (given.seeds, given.backend) == (3, "none")
    assert given.configuration("vit").protocol == "released"
    assert given.configuration("vit").backbone == "general"
    vit, vivit = study.starts()
    assert (vit.model, vit.clip_stride) == ("vit", 1)
    assert (vivit.model, vivit.clip_stride) == ("vivit", profile_named("demo").clip_stride)
    assert study.starts("vivit") == [vivit]
    assert study.configuration("vit", unfrozen_layers=4).unfrozen_layers == 4
    assert study.configuration("vivit", clip_stride=1).clip_stride == 1
    with pytest.raises(ConfigurationError, match="model='vvit'"):
        study.starts("vvit")


def test_unbc_is_trained_as_in_the_paper_and_not_on_a_cpu_by_mistake(
    miniature, tmp_path, monkeypatch
):
    where = {"dataset": "unbc", "data_root": miniature.root, "results": tmp_path}
    study = open_study(**where)
    assert (study.profile.name, study.design) == ("paper", "pair_and_shuffle")
    archive = pd.DataFrame({"subject": np.concatenate(paper.RELEASED_FOLDS)})
    assert default_design(archive) == "published"
    assert study.backbone == "google/vit-base-patch16-224"
    assert open_study(**where, profile="demo", design="balanced").design == "balanced"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(StudyError, match=r"about \d+ days.*DEVICE=cpu"):
        _ = study.sweep
    open_study(**where, device="cpu").check_cost()
    open_study(**where, scheduler="tcp://10.0.0.5:8786").check_cost()


@pytest.mark.parametrize(
    "wrong",
    [{"profile": "huge"}, {"device": "tpu"}, {"dataset": "other"}, {"design": "stratified"}],
)
def test_what_there_is_not_is_an_error_with_what_there_is(wrong):
    with pytest.raises(PaincoreError, match=next(iter(wrong.values()))):
        open_study(**wrong)
