import pytest

from paincore import PaincoreError
from paincore.profiles import profile_named
from paincore.study import open_study
from paincore.training.configuration import ConfigurationError


def test_a_study_is_what_its_profile_says_unless_something_else_is_given(drawn_corpus, tmp_path):
    where = ("demo", "synthetic", drawn_corpus.root, tmp_path)
    study, given = open_study(*where), open_study(*where, seeds=3, backend="none")
    assert (study.seeds, study.backend) == (1, "landmarker")
    assert (given.seeds, given.backend) == (3, "none")
    vit, vivit = study.starts()
    assert (vit.model, vit.clip_stride) == ("vit", 1)
    assert (vivit.model, vivit.clip_stride) == ("vivit", profile_named("demo").clip_stride)
    assert study.starts("vivit") == [vivit]
    assert study.configuration("vit", unfrozen_layers=4).unfrozen_layers == 4
    with pytest.raises(ConfigurationError, match="model='vvit'"):
        study.starts("vvit")


@pytest.mark.parametrize("wrong", [{"profile": "huge"}, {"device": "tpu"}, {"dataset": "other"}])
def test_what_there_is_not_is_an_error_with_what_there_is(wrong):
    with pytest.raises(PaincoreError, match=next(iter(wrong.values()))):
        open_study(**wrong)
