import json
import os

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import ViTConfig, ViTForImageClassification, ViTModel

from paincore.training.backbones import DEMO, IMAGENET, BackboneError, fingerprint, load_encoder


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


def named(tensors, ending):
    return next(name for name in tensors if name.endswith(ending))


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


def test_encoders_of_one_file_share_nothing_that_can_be_changed(folder):
    one, other = load_encoder(str(folder)), load_encoder(str(folder))
    heard = []
    for module in one.modules():
        module.register_forward_hook(lambda *_: heard.append(1))
    one.set_attn_implementation("eager")
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(1).requires_grad_(False)
    one.layers.append(torch.nn.Identity())
    third = load_encoder(str(folder))
    for encoder in (other, third):
        assert_same_weights(encoder, load_encoder("random", seed=3))
        assert {module.config._attn_implementation for module in encoder.modules()
                if hasattr(module, "config")} == {"sdpa"}  # fmt: skip
        assert all(parameter.requires_grad for parameter in encoder.parameters())
        encoder(torch.zeros(1, 3, 48, 48))
    assert heard == []


def test_an_encoder_that_changes_on_disk_is_read_again(folder):
    before = fingerprint(str(folder))
    first = load_encoder(str(folder))
    change_tensors(folder, lambda tensors: tensors[named(tensors, "cls_token")].add_(1))
    assert fingerprint(str(folder)) != before
    moved = load_encoder(str(folder)).embeddings.cls_token - first.embeddings.cls_token
    assert moved.mean().item() == pytest.approx(1)
    load_encoder("random", seed=4).save_pretrained(folder)
    change_settings(folder, layer_norm_eps=0.1)
    assert load_encoder(str(folder)).config.layer_norm_eps == 0.1


def test_half_precision_on_disk_is_float32_in_memory(folder):
    change_tensors(
        folder, lambda tensors: tensors.update({k: v.half() for k, v in tensors.items()})
    )
    assert {p.dtype for p in load_encoder(str(folder)).parameters()} == {torch.float32}


def test_of_an_image_classifier_the_encoder_is_taken_and_its_head_left(tmp_path, capfd):
    classifier = ViTForImageClassification(ViTConfig(**DEMO, num_labels=1000))
    classifier.save_pretrained(tmp_path)
    capfd.readouterr()
    assert_same_weights(load_encoder(str(tmp_path)), classifier.vit)
    assert capfd.readouterr() == ("", "")


def test_a_pooler_is_left_too(tmp_path):
    model = ViTModel(ViTConfig(**DEMO))
    model.save_pretrained(tmp_path)
    model.pooler = None
    assert_same_weights(load_encoder(str(tmp_path)), model)


def test_dropout_inside_a_foreign_encoder_is_off(folder):
    """It would draw from the global generator."""
    change_settings(folder, hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
    encoder = load_encoder(str(folder)).train()
    pixels = torch.rand(2, 3, 48, 48)
    assert torch.equal(encoder(pixels).last_hidden_state, encoder(pixels).last_hidden_state)


def test_a_checkpoint_without_one_of_its_tensors_is_refused(folder):
    change_tensors(folder, lambda tensors: tensors.pop(named(tensors, "11.output.dense.weight")))
    before = torch.get_rng_state()
    with pytest.raises(BackboneError, match=r"missing: layers\.11\.mlp\.fc2\.weight\)"):
        load_encoder(str(folder))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_checkpoint_with_a_strange_tensor_is_refused(folder):
    change_tensors(folder, lambda tensors: tensors.update(decoder=torch.zeros(2)))
    with pytest.raises(BackboneError, match=r"too much: decoder\)"):
        load_encoder(str(folder))


def test_a_checkpoint_with_a_tensor_of_another_size_is_refused(folder):
    change_settings(folder, image_size=56)
    with pytest.raises(BackboneError, match=r"another size: embeddings\.position_embeddings"):
        load_encoder(str(folder))


def test_a_checkpoint_of_fewer_blocks_than_its_settings_say_is_refused(folder):
    def shorten(tensors):
        for name in [name for name in tensors if ".11." in name]:
            del tensors[name]

    change_tensors(folder, shorten)
    with pytest.raises(BackboneError, match=r"missing: layers\.11\..* and 13 more"):
        load_encoder(str(folder))


@pytest.mark.parametrize("blocks", [6, 13])
def test_a_whole_encoder_of_another_depth_is_refused(tmp_path, blocks):
    config = ViTConfig(**DEMO | {"num_hidden_layers": blocks})
    ViTModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match=rf"config.json: num_hidden_layers is {blocks}; .* 12"):
        load_encoder(str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"patch_size": 7}, "patch_size 7 does not divide image_size 48"),
        ({"num_attention_heads": 5}, "num_attention_heads 5 does not divide hidden_size 64"),
        ({"patch_size": 0}, "patch_size is 0 instead"),
        ({"image_size": [48, 96]}, r"image_size is \[48, 96\] instead"),
        ({"num_channels": 1}, "num_channels is 1; .* have 3"),
        ({"hidden_act": "sigmund"}, "unknown hidden_act 'sigmund'"),
        ({"model_type": "deit"}, "model_type is 'deit'"),
        ({"hidden_size": "wide"}, "config.json cannot be read"),
    ],
)
def test_settings_of_no_encoder_for_these_models_are_refused(folder, settings, sentence):
    change_settings(folder, **settings)
    with pytest.raises(BackboneError, match=sentence):
        load_encoder(str(folder))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", None])
def test_settings_that_cannot_be_read_are_refused(folder, text):
    path = folder / "config.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(BackboneError, match=r"config\.json cannot be read"):
        load_encoder(str(folder))


@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_file_of_weights_cut_short_is_refused(folder, keep):
    path = folder / "model.safetensors"
    os.truncate(path, int(path.stat().st_size * keep))
    with pytest.raises(BackboneError, match=r"model\.safetensors is damaged"):
        load_encoder(str(folder))


def test_a_pickle_is_not_opened(folder):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(BackboneError, match=r"pytorch_model\.bin is a pickle.*save_pretrained"):
        load_encoder(str(folder))


def test_an_empty_folder_and_a_name_that_is_none_say_what_there_is(tmp_path):
    with pytest.raises(BackboneError, match=r"config\.json cannot be read"):
        load_encoder(str(tmp_path))
    with pytest.raises(BackboneError, match="movement, general, random, google/vit-base"):
        load_encoder("google/vit-large-patch16-224")


def test_without_a_network_imagenet_s_weights_are_asked_for_by_revision(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    revision = "3f49326eb077187dfe1c2a2bb15fbd74e6ab91e3"
    for ask in (load_encoder, fingerprint):
        with pytest.raises(BackboneError, match=rf"fetch vit-b16 --file .*{revision}.* local"):
            ask(IMAGENET, assets=tmp_path)


def test_random_weights_follow_from_the_seed_and_touch_no_global_generator():
    before = torch.get_rng_state()
    first = load_encoder("random", seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert_same_weights(first, load_encoder("random", seed=0))
    torch.set_rng_state(before)
    other = load_encoder("random", seed=1).state_dict()
    drawn = [name for name, tensor in first.state_dict().items() if tensor.std() > 0]
    assert len(drawn) == 12 * 6 + 3  # six matrices a block, patches, positions, CLS
    assert not any(torch.equal(first.state_dict()[name], other[name]) for name in drawn)


def test_a_random_encoder_is_drawn_as_transformers_draws_one():
    ours = load_encoder("random", seed=0).state_dict()
    theirs = ViTModel(ViTConfig(**DEMO), add_pooling_layer=False).state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.std().item() == pytest.approx(theirs[name].std().item(), rel=0.4), name
        assert tensor.mean().item() == pytest.approx(theirs[name].mean().item(), abs=0.01), name


def test_the_fingerprint_follows_weights_and_architecture_but_not_the_place(folder):
    first = fingerprint(str(folder))
    moved = folder.rename(folder.with_name("moved"))
    change_settings(moved, transformers_version="0")
    assert fingerprint(str(moved)) == first
    change_settings(moved, num_attention_heads=2)
    heads = fingerprint(str(moved))
    change_tensors(moved, lambda tensors: tensors[named(tensors, "cls_token")].mul_(2))
    assert len({first, heads, fingerprint(str(moved))}) == 3


def test_the_fingerprint_of_random_weights_is_that_of_the_seed():
    assert fingerprint("random", 0) == fingerprint("random", 0) != fingerprint("random", 1)
