"""The sizes a chapter can be run at.

A profile is a name for a set of defaults. Whatever a chapter or the command line names itself
wins over the profile; `None` there means the profile's value.
"""

import re
from typing import NamedTuple

from paincore import PaincoreError


class Profile(NamedTuple):
    """Defaults of one size of the book; those of the demo, where a profile names no others.

    `dataset` names an entry of `data_manifest.yaml`. `frames` is the size of the synthetic corpus,
    in frames; `None` where the data set is not ours to size. `backend` is the registration's, a
    name of `paincore.registration.backends`. `backbone` is what models start from, for
    `paincore.training.backbones.load_encoder`; `clip_stride` keeps every n-th clip of a sequence;
    `precision` is "fp32" or "bf16"; `seeds` is how often each training is repeated.
    """

    name: str
    dataset: str = "synthetic"
    frames: int | None = 2000
    backend: str = "landmarker"
    backbone: str = "movement"
    clip_stride: int = 2
    precision: str = "fp32"
    seeds: int = 1


DEFAULT_PROFILE = "demo"
UNBC = "unbc"  # UNBC-McMaster's name in the manifest

PROFILES = {
    # A check that everything runs, in the time of a coffee.
    "smoke": Profile("smoke", frames=300),
    # A book worth reading, on two processor cores.
    "demo": Profile("demo"),
    # The paper's own data set, for those who hold its licence.
    "paper": Profile(
        "paper",
        dataset=UNBC,
        frames=None,
        backend="prnet",
        backbone="google/vit-base-patch16-224",
        clip_stride=1,
        precision="bf16",
    ),
}


def default_profile(dataset: str | None) -> str:
    """The profile of who names none: the paper's for its own corpus, whose Table 1 it makes."""
    return "paper" if dataset == UNBC else DEFAULT_PROFILE


def check_device(name: str | None) -> None:
    """`PaincoreError` naming the devices there are, if this is none; None means the best one."""
    if name is not None and not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise PaincoreError(f"unknown device {name!r}; there are cpu, cuda, and cuda:1 and so on")


def profile_named(name: str) -> Profile:
    """The profile of this name; `PaincoreError` naming the known ones if there is none."""
    if name not in PROFILES:
        raise PaincoreError(f"unknown profile {name!r}; the profiles are {', '.join(PROFILES)}")
    return PROFILES[name]
