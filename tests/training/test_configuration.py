import pytest

from paincore.training.configuration import ConfigurationError, configure


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"layers": 6}, r"layers=6: extra inputs.*settings are model, backbone, unfrozen_layers"),
        ({"learning_rate": 0}, "learning_rate=0: .*greater than 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"mixup_alpha": -0.2}, "mixup_alpha=-0.2"),
        ({"unfrozen_layers": 0}, "unfrozen_layers=0"),
        ({"model": "cnn"}, "'vit' or 'vivit'"),
        ({"precision": "fp16"}, "'fp32' or 'bf16'"),
        ({"clip_stride": 2}, "clip_stride is for vivit"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(settings, said):
    with pytest.raises(ConfigurationError, match=said):
        configure(**settings)


def test_a_configuration_cannot_be_changed_after_it_was_checked():
    with pytest.raises(ValueError, match="frozen"):
        configure().learning_rate = 1.0


def test_titles_tell_configurations_apart():
    assert configure().title == "ViT 12 layers, 2e-4"
    vivit = configure(model="vivit", unfrozen_layers=6, learning_rate=2e-6, mixup_alpha=0.8)
    assert vivit.title == "ViViT 6 layers, 2e-6, Mixup 0.8"
    titles = {configure(shuffled_labels=how).title for how in (False, "all", "within_subjects")}
    assert len(titles) == 3
    assert configure(sam=True, protocol="released").title == "ViT 12 layers, 2e-4, SAM, released"
