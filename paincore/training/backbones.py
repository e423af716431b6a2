"""The pretrained encoders that the models start from, by name or from a folder.

A backbone is a config.json and a model.safetensors of a Hugging Face ViT of 12 blocks. Pickles are
not read and no code comes with a model. A file must hold the encoder's tensors, all of them and no
others but ImageNet's own head, each of the size that its settings say.
"""

import contextlib
import copy
import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers.activations import ACT2FN
from transformers.models.vit.configuration_vit import ViTConfig
from transformers.models.vit.modeling_vit import ViTModel
from transformers.utils import logging as transformers_logging

from paincore import PaincoreError
from paincore.files import digest_of
from paincore.manifest import ASSETS, AssetError, fetch, load_manifest

LAYERS = 12
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
IMAGENET, IMAGENET_ASSET = "google/vit-base-patch16-224", "vit-b16"

# What a checkpoint may hold beyond the encoder: ImageNet's own head, which nothing here uses.
IMAGENET_HEAD = {
    f"{prefix}{layer}.{part}"
    for prefix in ("", "vit.")
    for layer in ("classifier", "pooler.dense")
    for part in ("weight", "bias")
}

# The settings that make an encoder; the others of a config.json change nothing or are INFERRED.
ARCHITECTURE = (*DEMO, "hidden_act", "layer_norm_eps", "num_channels", "qkv_bias")


class BackboneError(PaincoreError):
    """A backbone that is not there, or is no whole ViT encoder of 12 blocks in safetensors."""


def load_encoder(backbone: str, seed: int = 0, assets: Path = ASSETS) -> ViTModel:
    """The pretrained encoder: float32, on the CPU, in evaluation mode, attention through sdpa.

    `backbone` is "movement" or "general" (the demo's), "random" (the demo's architecture, weights
    drawn from `seed`), "google/vit-base-patch16-224" (fetched into `assets` at the manifest's
    revision), or a folder with config.json and model.safetensors. No global generator is touched.
    Raises BackboneError naming what is missing, too much or not of 12 blocks, and what to do.
    Source: section 3 of the paper. Used in chapter 04.
    """
    config, weights = _backbone(backbone, assets)
    if weights is None:
        return _random_encoder(config, seed)
    kept = _pretrained(weights, _state(weights), config.to_json_string())
    return _copied(kept, copy.copy(kept.config))


def _copied(module: nn.Module, config: ViTConfig) -> nn.Module:
    """A copy with its own parameters and hooks, and with `config` for its settings.

    As `copy.deepcopy` makes it, in a tenth of its 16 ms.
    """
    new = copy.copy(module)
    own = vars(new)
    own |= {name: value.copy() for name, value in own.items() if isinstance(value, dict)}
    if "config" in own:
        own["config"] = config
    for name, parameter in module.named_parameters(recurse=False):
        values = parameter.detach().clone()
        new.register_parameter(name, nn.Parameter(values, parameter.requires_grad))
    for name, child in module.named_children():
        new.add_module(name, _copied(child, config))
    return new


# Kept, since transformers takes 80 ms to check and place what a copy does in 2.
@lru_cache(maxsize=1)
def _pretrained(weights: Path, state: tuple, settings: str) -> ViTModel:
    """The encoder of a file of weights in a `_state`, which nobody may change."""
    config = ViTConfig(**json.loads(settings))
    try:
        tensors = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise BackboneError(
            f"{weights} is damaged ({error}). Delete it and get it again."
        ) from error
    with _quiet(), torch.random.fork_rng(devices=[]):  # transformers draws what is missing
        encoder, report = ViTModel.from_pretrained(
            None,
            config=config,
            state_dict=tensors,
            add_pooling_layer=False,
            attn_implementation="sdpa",
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    _check_tensors(weights, report)
    return encoder.eval()


def fingerprint(backbone: str, seed: int = 0, assets: Path = ASSETS) -> str:
    """SHA-256 of the backbone's architecture and weights, or of its seed if they are drawn.

    Raises BackboneError as `load_encoder`. Used by the runs of chapter 04.
    """
    config, weights = _backbone(backbone, assets)
    architecture = {name: getattr(config, name) for name in ARCHITECTURE}
    if weights is None:
        drawn = json.dumps(architecture | {"seed": seed}, sort_keys=True)
        return hashlib.sha256(drawn.encode()).hexdigest()
    digest = digest_of(weights)
    digest.update(json.dumps(architecture, sort_keys=True).encode())
    return digest.hexdigest()


def _state(path: Path) -> tuple[int, int]:
    """What changes when a file does."""
    file = path.stat()
    return file.st_mtime_ns, file.st_size


def _backbone(backbone: str, assets: Path) -> tuple[ViTConfig, Path | None]:
    """The backbone's settings, and its file of weights unless they are drawn."""
    if backbone == "random":
        return ViTConfig(**DEMO), None
    if backbone == IMAGENET:
        return ViTConfig(), _imagenet_weights(assets)
    folder = BACKBONES / backbone if backbone in DEMO_BACKBONES else Path(backbone).expanduser()
    if not folder.is_dir():
        known = ", ".join((*DEMO_BACKBONES, "random", IMAGENET))
        raise BackboneError(
            f"backbone {backbone!r}: {folder} is no folder. There are {known}, or give the path of "
            "a folder with config.json and model.safetensors."
        )
    settings = folder / "config.json"
    state = _state(settings) if settings.is_file() else None
    return _read_config(settings, state), _weights_of(folder)


def _imagenet_weights(assets: Path) -> Path:
    try:
        return fetch(IMAGENET_ASSET, assets=assets)
    except AssetError as error:
        source = load_manifest().assets[IMAGENET_ASSET].sources[0]
        raise BackboneError(
            f"{IMAGENET} is not here: {error}. It is model.safetensors of that repository on the "
            f"Hugging Face hub at revision {source.revision}; or name a local folder with "
            "config.json and model.safetensors as the backbone."
        ) from error


def _weights_of(folder: Path) -> Path:
    weights = folder / "model.safetensors"
    if weights.is_file():
        return weights
    pickles = [path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth")]
    reason = f"; {pickles[0]} is a pickle, which could run code, and is not read" if pickles else ""
    raise BackboneError(
        f"{folder} has no model.safetensors{reason}. Write it with transformers' save_pretrained."
    )


@lru_cache(maxsize=8)
def _read_config(path: Path, state: tuple | None) -> ViTConfig:
    """The settings in a config.json in a `_state`, which nobody may change.

    Raises BackboneError naming the one that does not fit.
    """
    try:
        raw = json.loads(path.read_text("utf-8"))
        config = ViTConfig(**{name: raw[name] for name in ARCHITECTURE if name in raw})
        kind = raw.get("model_type")
        fault = _fault(config) if kind == "vit" else f"model_type is {kind!r} instead of 'vit'"
    except (OSError, ValueError, TypeError, AttributeError, StrictDataclassError) as error:
        raise BackboneError(
            f"{path} cannot be read as a ViT's settings: {error}. Put back the one that "
            "save_pretrained wrote beside the weights."
        ) from error
    if fault:
        raise BackboneError(f"{path}: {fault}. Choose a backbone that fits.")
    return config


def _fault(config: ViTConfig) -> str:
    """Why this encoder is not one for the paper's models; empty if it is."""
    wholes, parts = ("image_size", "hidden_size"), ("patch_size", "num_attention_heads")
    sizes = {name: getattr(config, name) for name in (*wholes, *parts)}
    for name, size in sizes.items():
        if not isinstance(size, int) or size < 1:
            return f"{name} is {size!r} instead of one number above 0"
    for whole, part in zip(wholes, parts, strict=True):
        if sizes[whole] % sizes[part]:
            return f"{part} {sizes[part]} does not divide {whole} {sizes[whole]}"
    for name, needed in (("num_hidden_layers", LAYERS), ("num_channels", 3)):
        if getattr(config, name) != needed:
            return f"{name} is {getattr(config, name)}; the paper's models have {needed}"
    return "" if config.hidden_act in ACT2FN else f"unknown hidden_act {config.hidden_act!r}"


def _check_tensors(weights: Path, report: dict) -> None:
    """Raise BackboneError unless the file held the encoder's tensors and no strange ones."""
    faults = {
        "missing": report["missing_keys"],
        "too much": set(report["unexpected_keys"]) - IMAGENET_HEAD,
        "of another size": {name for name, *_ in report["mismatched_keys"]},
    }
    parts = []
    for fault, names in faults.items():
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            parts.append(f"{fault}: {', '.join(sorted(names)[:3])}{more}")
    if parts:
        raise BackboneError(
            f"{weights} does not hold the encoder that its settings describe ({'; '.join(parts)}). "
            "Give a ViT saved by transformers' save_pretrained, with its own config.json."
        )


def _random_encoder(config: ViTConfig, seed: int) -> ViTModel:
    """An encoder with transformers' own distributions, drawn from `seed` and nothing shared."""
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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bar and table of tensors: `_check_tensors` reads the table."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(transformers_logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
