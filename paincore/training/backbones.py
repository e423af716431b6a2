"""The pretrained encoders that the models start from, by name or from a folder.

A backbone is a config.json and a model.safetensors of a Hugging Face ViT of 12 blocks. Pickles are
not read and no code comes with a model. A file must hold the encoder's tensors, all of them and no
others but ImageNet's own head, each of the size that its settings say.
"""

import copy
import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers.models.vit.configuration_vit import ViTConfig
from transformers.models.vit.modeling_vit import ViTModel
from transformers.utils import logging as transformers_logging

from paincore import PaincoreError
from paincore.files import digest_of, state_of
from paincore.manifest import ASSETS, fetch
from paincore.training.configuration import LAYERS

DEMO = {
    "hidden_size": 64,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "image_size": 48,
    "patch_size": 8,
}
"""The architecture of the demo backbones: small enough for two processor cores."""

BACKBONES = Path(__file__).parent / "weights"
DEMO_BACKBONES = ("movement", "general")
IMAGENET = "google/vit-base-patch16-224"
HUB = r"[\w.-]+/[\w.-]+"  # a model of the Hugging Face hub
PINNED = HUB + "@[0-9a-f]{40}"  # at a revision
IMAGENET_HEAD = ("classifier.", "pooler.dense.")  # tensors beside the encoder's, not used here

# The settings that make an encoder: of a config.json the others are not read.
ARCHITECTURE = (*DEMO, "hidden_act", "layer_norm_eps", "num_channels", "qkv_bias")

# Its report of a file's tensors is read by `_pretrained`.
transformers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()


class BackboneError(PaincoreError):
    """A backbone that is not there, or is no whole ViT encoder of 12 blocks in safetensors."""


def load_encoder(backbone: str, seed: int = 0, assets: Path = ASSETS) -> ViTModel:
    """The pretrained encoder: float32, on the CPU, in evaluation mode, attention through sdpa.

    `backbone` is "movement" or "general" (the demo's), "random" (the demo's architecture, weights
    drawn from `seed`), "google/vit-base-patch16-224" (fetched into `assets` at the manifest's
    revision), "owner/name@revision" (of the Hugging Face hub), or a folder with config.json and
    model.safetensors. No global generator is touched.
    Raises BackboneError naming what is missing, too much or not of 12 blocks, and what to do, and
    AssetError where ImageNet's weights cannot be fetched. Source: section 3 of the paper.
    """
    config, weights = _find(backbone, assets)
    if weights is None:
        return random_encoder(config, seed)
    return copy.deepcopy(_pretrained(weights, state_of(weights), config.to_json_string()))


def backbone_digest(backbone: str, seed: int = 0, assets: Path = ASSETS) -> str:
    """SHA-256 of the backbone's architecture and weights, or of its seed if they are random.

    Raises BackboneError as `load_encoder`.
    """
    config, weights = _find(backbone, assets)
    settings = {name: getattr(config, name) for name in ARCHITECTURE}
    digest = hashlib.sha256() if weights is None else digest_of(weights)
    if weights is None:
        settings["seed"] = seed
    digest.update(json.dumps(settings, sort_keys=True).encode())
    return digest.hexdigest()


def pinned(backbone: str) -> str:
    """A backbone's name with the revision it has now, if it is one of the Hugging Face hub.

    "owner/name" becomes "owner/name@revision"; any other name stays. Raises BackboneError where the
    hub has no such model, or does not answer and has not been asked before.
    """
    if backbone == IMAGENET or not re.fullmatch(HUB, backbone) or Path(backbone).exists():
        return backbone
    return f"{backbone}@{_from_hub(backbone, 'config.json').parent.name}"


def _from_hub(backbone: str, file: str) -> Path:
    """A file of "owner/name" or "owner/name@revision", fetched into the hub's own cache."""
    name, _, revision = backbone.partition("@")
    try:
        return Path(hf_hub_download(name, file, revision=revision or None))
    except (OSError, ValueError, EntryNotFoundError, HfHubHTTPError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BackboneError(
            f"backbone {backbone}: {file} could not be fetched from the Hugging Face hub ({reason})"
            ". Give a model there that has a model.safetensors, or a folder."
        ) from error


def random_encoder(config: ViTConfig, seed: int) -> ViTModel:
    """An encoder whose weights have transformers' own distributions, from a generator of `seed`."""
    with torch.device("meta"):
        encoder = ViTModel._from_config(config, attn_implementation="sdpa", add_pooling_layer=False)
    encoder = encoder.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for module in encoder.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=config.initializer_range, generator=generator)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            module.reset_parameters()
    embeddings = encoder.embeddings
    for parameter in (embeddings.cls_token, embeddings.position_embeddings):
        nn.init.trunc_normal_(parameter, std=config.initializer_range, generator=generator)
    return encoder.eval()


@lru_cache(maxsize=1)  # transformers takes 80 ms to check and place what a copy takes 16 for
def _pretrained(weights: Path, state: tuple, settings: str) -> ViTModel:
    """The encoder of a file of weights in a `state_of`; callers copy it and change the copy.

    Raises BackboneError unless the file holds the encoder's tensors and no strange ones.
    """
    try:
        tensors = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise BackboneError(f"{weights} is damaged ({error}). Get it again.") from error
    with torch.random.fork_rng(devices=[]):  # transformers initialises what is missing
        encoder, report = ViTModel.from_pretrained(
            None,
            config=ViTConfig(**json.loads(settings)),
            state_dict=tensors,
            add_pooling_layer=False,
            attn_implementation="sdpa",
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    wrong = report["missing_keys"] | {name for name, *_ in report["mismatched_keys"]}
    for name in report["unexpected_keys"]:
        if not name.removeprefix("vit.").startswith(IMAGENET_HEAD):
            wrong.add(name)
    if wrong:
        raise BackboneError(
            f"{weights} is not what its config.json describes: {min(wrong)} is missing, too much "
            f"or of another size ({len(wrong)} in all). Give both as save_pretrained writes them."
        )
    return encoder.eval()


def _find(backbone: str, assets: Path) -> tuple[ViTConfig, Path | None]:
    """The backbone's settings, and its file of weights unless they are random."""
    if backbone == "random":
        return ViTConfig(**DEMO), None
    if backbone == IMAGENET:
        return ViTConfig(), fetch("vit-b16", assets=assets)
    folder = BACKBONES / backbone if backbone in DEMO_BACKBONES else Path(backbone).expanduser()
    if re.fullmatch(PINNED, backbone) and not folder.is_dir():
        folder = _from_hub(backbone, "config.json").parent
        _from_hub(backbone, "model.safetensors")
    if not folder.is_dir():
        known = ", ".join((*DEMO_BACKBONES, "random", IMAGENET))
        raise BackboneError(f"backbone {folder} is no folder: take {known}, or a folder's path.")
    config, weights = _read_config(folder / "config.json"), folder / "model.safetensors"
    if not weights.is_file():
        raise BackboneError(
            f"{folder} has no model.safetensors. Write it with transformers' save_pretrained: "
            "pickles, such as pytorch_model.bin, could run code and are not read."
        )
    return config, weights


def _read_config(path: Path) -> ViTConfig:
    """The settings in a config.json. Raises BackboneError where they are not of these models."""
    try:
        raw = json.loads(path.read_text("utf-8"))
        config = ViTConfig(**{name: raw[name] for name in ARCHITECTURE if name in raw})
        found = raw["model_type"], config.num_hidden_layers, config.num_channels
        left_over = config.image_size % config.patch_size
    except (
        OSError,
        ArithmeticError,
        ValueError,
        TypeError,
        KeyError,
        StrictDataclassError,
    ) as error:
        raise BackboneError(
            f"{path} cannot be read ({error!r}). Put back the one that save_pretrained wrote."
        ) from error
    if found != ("vit", LAYERS, 3) or left_over:
        raise BackboneError(
            f"{path} is of {found[0]!r} with {found[1]} blocks on {found[2]} channels, and patches "
            f"that leave {left_over} px of the image over. Take a vit with {LAYERS}, 3 and 0."
        )
    return config
