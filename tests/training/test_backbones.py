import json
import os

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import load_file, save_file
from transformers import ViTConfig, ViTForImageClassification, ViTModel

from paincore.manifest import AssetError
from paincore.training import backbones
from paincore.training.backbones import DEMO, BackboneError, backbone_digest, load_encoder


@pytest.fixture
def folder(tmp_path):
    """A backbone of the demo's architecture as transformers writes it."""
    load_encoder("random", seed=3).save_pretrained(tmp_path / "backbone")
    return tmp_path / "backbone"


def change_settings(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def change_tensors(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def assert_same_weights(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_saved_encoder_comes_back_the_same_and_without_a_word(folder, capfd):
    encoder = load_encoder(str(folder))
    assert capfd.readouterr() == ("", "")
    assert_same_weights(encoder, load_encoder("random", seed=3))
    assert encoder.config._attn_implementation == "sdpa"
    assert not encoder.training


def test_encoders_of_one_file_have_nothing_in_common_that_can_be_changed(folder):
    one = load_encoder(str(folder)).requires_grad_(False)
    one.set_attn_implementation("eager")
    one.embeddings.register_forward_hook(lambda *_: pytest.fail("another encoder's hook"))
    for parameter in one.parameters():
        parameter.add_(1)
    other = load_encoder(str(folder))
    assert_same_weights(other, load_encoder("random", seed=3))
    assert other.config._attn_implementation == "sdpa"
    assert all(parameter.requires_grad for parameter in other.parameters())
    other(torch.zeros(1, 3, 48, 48))


def test_an_encoder_that_changes_on_disk_is_read_again(folder):
    before, first = backbone_digest(str(folder)), load_encoder(str(folder))
    change_tensors(folder, lambda tensors: tensors[CLS].add_(1))
    assert backbone_digest(str(folder)) != before
    moved = load_encoder(str(folder)).embeddings.cls_token - first.embeddings.cls_token
    assert moved.mean().item() == pytest.approx(1)
    change_settings(folder, layer_norm_eps=0.1)
    assert load_encoder(str(folder)).config.layer_norm_eps == 0.1


def test_of_an_image_classifier_in_half_precision_the_encoder_is_taken(tmp_path, capfd):
    classifier = ViTForImageClassification(ViTConfig(**DEMO, num_labels=1000)).half()
    classifier.save_pretrained(tmp_path)
    capfd.readouterr()
    assert_same_weights(load_encoder(str(tmp_path)), classifier.vit.float())
    assert capfd.readouterr() == ("", "")


def test_dropout_inside_a_foreign_encoder_is_off(folder):
    """Its masks would come from the global generator."""
    change_settings(folder, hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
    encoder, pixels = load_encoder(str(folder)).train(), torch.rand(2, 3, 48, 48)
    assert torch.equal(encoder(pixels).last_hidden_state, encoder(pixels).last_hidden_state)


CLS, LAST = "embeddings.cls_token", "encoder.layer.11.output.dense.weight"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop(LAST), r"layers\.11\.mlp\.fc2\.weight is missing"),
        (lambda tensors: tensors.update(decoder=torch.zeros(2)), "decoder is .* too much"),
        (lambda tensors: tensors.update({CLS: torch.zeros(1, 1, 3)}), "cls_token is .* size"),
    ],
)
def test_a_checkpoint_that_is_not_the_encoder_of_its_settings_is_refused(folder, change, said):
    change_tensors(folder, change)
    before = torch.get_rng_state()
    with pytest.raises(BackboneError, match=rf"model\.safetensors .*{said}"):
        load_encoder(str(folder))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_hidden_layers": 6}, "with 6 blocks"),
        ({"patch_size": 7}, "leave 6 px"),
        ({"model_type": "deit"}, "is of 'deit'"),
        ({"image_size": [48, 96]}, "cannot be read"),
        ({"hidden_size": "wide"}, "cannot be read"),
    ],
)
def test_settings_of_no_encoder_for_these_models_are_refused(folder, settings, said):
    change_settings(folder, **settings)
    with pytest.raises(BackboneError, match=rf"config\.json.*{said}"):
        load_encoder(str(folder))


def test_files_that_are_damaged_or_missing_are_named(folder):
    path = folder / "model.safetensors"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(BackboneError, match=r"model\.safetensors is damaged"):
        load_encoder(str(folder))
    for text in ("{", "[]"):
        (folder / "config.json").write_text(text)
        with pytest.raises(BackboneError, match=r"config\.json cannot be read"):
            load_encoder(str(folder))


def test_a_pickle_is_not_opened_and_an_unknown_name_says_what_there_is(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(BackboneError, match=r"has no model\.safetensors.*pytorch_model\.bin"):
        load_encoder(str(folder))
    with pytest.raises(BackboneError, match="movement, general, random, google/vit-base"):
        load_encoder("google/vit-large-patch16-224")


def test_without_a_network_it_is_said_how_imagenet_s_weights_are_given(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for ask in (load_encoder, backbone_digest):
        with pytest.raises(AssetError, match="fetch vit-b16 --file"):
            ask("google/vit-base-patch16-224", assets=tmp_path)


def test_random_weights_follow_from_the_seed_and_have_transformers_distributions():
    before = torch.get_rng_state()
    first = load_encoder("random", seed=0).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert_same_weights(load_encoder("random", seed=0), load_encoder("random", seed=0))
    other = load_encoder("random", seed=1).state_dict()
    theirs = ViTModel(ViTConfig(**DEMO), add_pooling_layer=False).state_dict()
    assert first.keys() == theirs.keys()
    for name, tensor in first.items():
        assert tensor.std() == 0 or not torch.equal(tensor, other[name]), name
        assert tensor.std().item() == pytest.approx(theirs[name].std().item(), rel=0.4), name
        assert tensor.mean().item() == pytest.approx(theirs[name].mean().item(), abs=0.01), name


def test_the_digest_follows_weights_and_architecture_but_not_the_place(folder):
    first = backbone_digest(str(folder))
    moved = folder.rename(folder.with_name("moved"))
    change_settings(moved, transformers_version="0")
    assert backbone_digest(str(moved)) == first
    change_settings(moved, num_attention_heads=2)
    assert backbone_digest(str(moved)) != first
    assert backbone_digest("random", 0) == backbone_digest("random", 0)
    assert backbone_digest("random", 0) != backbone_digest("random", 1)


def test_a_model_of_the_hub_is_pinned_at_its_revision_and_read_there(folder, monkeypatch):
    revision = "0123456789abcdef0123456789abcdef01234567"
    snapshot = folder.rename(folder.parent / revision)
    asked = []

    def download(name, file, revision):
        asked.append((name, revision))
        if not (snapshot / file).exists():
            raise EntryNotFoundError(f"{file} is not there")
        return str(snapshot / file)

    monkeypatch.setattr(backbones, "hf_hub_download", download)
    pinned = backbones.pinned("somebody/vit-tiny")
    assert pinned == f"somebody/vit-tiny@{revision}"
    assert backbones.pinned(pinned) == pinned
    assert backbones.pinned("movement") == "movement"
    assert_same_weights(load_encoder(pinned), load_encoder("random", seed=3))
    assert asked[-1] == ("somebody/vit-tiny", revision)
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(BackboneError, match=r"somebody/vit-tiny.*model\.safetensors"):
        load_encoder(pinned)
