"""What one training is told: the paper's settings, those it varies, and the two protocols.

A protocol is a name for the switches in which the paper and its authors' released notebook differ
in a way that can move a number. The rest of the paper's settings (section 3.3 and the notebook) are
fixed and stand here as constants.
"""

import math
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from paincore import PaincoreError

MODELS = {"vit": "ViT", "vivit": "ViViT"}
"""The models' names in the paper."""

LAYERS = 12  # of every backbone
BATCH_SIZE = 16
EPOCHS = 1
ADAM = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
SAM_RHO = 0.05
MIXUP_PROPORTION = 0.2  # of the samples of an epoch


class ConfigurationError(PaincoreError):
    """A setting that there is not, or a value it cannot have."""


class Protocol(NamedTuple):
    """Where paper and released notebook differ.

    `freezing`: which parameters train, see `paincore.training.vit.freeze`. `dropout_at_test`: the
    notebook never leaves training mode. `mixup_rows`: which samples Mixup takes, see
    `paincore.training.samples.mix`. The notebook also seeds once for all folds, so that a fold
    depends on those before it; that is not followed here, since a fold alone would then be another
    fold.
    """

    freezing: Literal["attention", "released"]
    dropout_at_test: bool
    mixup_rows: Literal["random", "every_fifth"]


PROTOCOLS = {
    "paper": Protocol(freezing="attention", dropout_at_test=False, mixup_rows="random"),
    "released": Protocol(freezing="released", dropout_at_test=True, mixup_rows="every_fifth"),
}


class Configuration(BaseModel):
    """What can be chosen of a training (the paper's section 3.3).

    `model` is "vit" on frames or "vivit" on 2x2 grids of four. `backbone` is what
    `paincore.training.backbones.load_encoder` takes. `unfrozen_layers` counts attention layers from
    the top; `learning_rate` is Adam's; `sam` puts sharpness-aware minimisation around it;
    `mixup_alpha` is the parameter of Mixup's Beta distribution, None without Mixup. `precision`
    "bf16" is autocast. `clip_stride` keeps every n-th sample of a sequence. `shuffled_labels`
    trains a control: "all" permutes the labels of all training samples, across people, so that each
    person's proportion of pain is lost too; "within_subjects" permutes them within each person, who
    keeps it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Literal["vit", "vivit"] = "vit"
    backbone: str = "movement"
    unfrozen_layers: int = Field(LAYERS, ge=1, le=LAYERS)
    learning_rate: float = Field(2e-4, gt=0, allow_inf_nan=False)
    sam: bool = False
    mixup_alpha: float | None = Field(None, gt=0, allow_inf_nan=False)
    protocol: Literal["paper", "released"] = "paper"
    precision: Literal["fp32", "bf16"] = "fp32"
    clip_stride: int = Field(1, ge=1)
    shuffled_labels: Literal[False, "all", "within_subjects"] = False

    @property
    def rules(self) -> Protocol:
        """The switches of its protocol."""
        return PROTOCOLS[self.protocol]

    @property
    def title(self) -> str:
        """A short name for figures and progress displays, such as "ViT 12 layers, 2e-4, SAM"."""
        parts = [f"{MODELS[self.model]} {self.unfrozen_layers} layers"]
        exponent = math.floor(math.log10(self.learning_rate))
        parts.append(f"{self.learning_rate / 10**exponent:.3g}e{exponent}")
        parts += ["SAM"] if self.sam else []
        parts += [f"Mixup {self.mixup_alpha:g}"] if self.mixup_alpha else []
        parts += [] if self.protocol == "paper" else [self.protocol]
        within = " within people" if self.shuffled_labels == "within_subjects" else ""
        parts += [f"labels shuffled{within}"] if self.shuffled_labels else []
        return ", ".join(parts)


def configure(**settings: object) -> Configuration:
    """A configuration from its settings; ConfigurationError naming the one that is wrong."""
    try:
        return Configuration(**settings)
    except ValidationError as fault:
        first, known = fault.errors()[0], ", ".join(Configuration.model_fields)
        said = f"{first['loc'][0]}={first['input']!r}: {first['msg'].lower()}"
        raise ConfigurationError(f"{said}. The settings are {known}.") from fault
