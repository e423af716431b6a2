import pytest

from paincore.training.configuration import ConfigurationError, configure


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"layers": 6}, "layers=6: .*settings are model, backbone, unfrozen_layers"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"mixup_alpha": -0.2}, "mixup_alpha=-0.2"),
        ({"unfrozen_layers": 0}, "unfrozen_layers=0"),
        ({"unfrozen_layers": 13}, "unfrozen_layers=13"),
        ({"model": "cnn"}, "'vit' or 'vivit'"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(settings, said):
    with pytest.raises(ConfigurationError, match=said):
        configure(**settings)


def test_titles_differ_where_configurations_do():
    changes = [{}, {"sam": True}, {"mixup_alpha": 0.8}, {"learning_rate": 2e-6}]
    changes += [{"shuffled_labels": "all"}, {"shuffled_labels": "within_subjects"}]
    changes += [{"model": "vivit"}, {"protocol": "released"}, {"unfrozen_layers": 6}]
    assert len({configure(**change).title for change in changes}) == len(changes)
    assert configure().title == "ViT 12 layers, 2e-4"
