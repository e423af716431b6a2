"""The sizes a chapter can be run at.

A profile is a name for a set of defaults. Whatever a chapter or the command line names itself
wins over the profile; `None` there means the profile's value.
"""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveInt

from paincore import PaincoreError


class Profile(BaseModel):
    """Defaults of one size of the book.

    `dataset` names an entry of `data_manifest.yaml`. `frames` is the size of the synthetic corpus,
    in frames; `None` where the data set is not ours to size. `backend` is the registration's, a
    name of `paincore.registration.backends`. `backbone` is what models start from, for
    `paincore.training.backbones.load_encoder`; `clip_stride` keeps every n-th clip of a sequence;
    `precision` is "fp32" or "bf16"; `seeds` is how often each training is repeated. Used by every
    chapter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    purpose: str
    dataset: str
    frames: PositiveInt | None
    backend: str
    backbone: str
    clip_stride: PositiveInt
    precision: Literal["fp32", "bf16"]
    seeds: PositiveInt


DEFAULT_PROFILE = "demo"

PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="smoke",
            purpose="a check that everything runs, in the time of a coffee",
            dataset="synthetic",
            frames=300,
            backend="landmarker",
            backbone="movement",
            clip_stride=2,
            precision="fp32",
            seeds=1,
        ),
        Profile(
            name="demo",
            purpose="a book worth reading, on two processor cores",
            dataset="synthetic",
            frames=2000,
            backend="landmarker",
            backbone="movement",
            clip_stride=2,
            precision="fp32",
            seeds=1,
        ),
        Profile(
            name="paper",
            purpose="the paper's own data set, for those who hold its licence",
            dataset="unbc",
            frames=None,
            backend="prnet",
            backbone="google/vit-base-patch16-224",
            clip_stride=1,
            precision="bf16",
            seeds=1,
        ),
    )
}


def check_device(name: str | None) -> None:
    """`PaincoreError` naming the devices there are, if this is none; None means the best one."""
    if name is not None and not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise PaincoreError(f"unknown device {name!r}; there are cpu, cuda, and cuda:1 and so on")


def profile_named(name: str) -> Profile:
    """The profile of this name; `PaincoreError` naming the known ones if there is none."""
    try:
        return PROFILES[name]
    except KeyError:
        known = ", ".join(PROFILES)
        raise PaincoreError(f"unknown profile {name!r}; the profiles are {known}") from None
