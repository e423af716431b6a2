"""A study: what one run of a chapter, or of the command line, works on.

The parameters of a chapter are those of `open_study`. Each part is made when it is first asked for,
so that a chapter which shows labels alone registers nothing.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from paincore.data.corpus import Corpus, open_corpus
from paincore.folds.designs import Fold, make_folds
from paincore.manifest import ROOT
from paincore.profiles import DEFAULT_PROFILE, Profile, check_device, profile_named
from paincore.registration.store import FrameStore, registered
from paincore.training.configuration import MODELS, Configuration, configure
from paincore.training.sweep import Sweep


@dataclass(frozen=True)
class Study:
    """One corpus, how it is registered and dealt to folds, and where its trainings run."""

    profile: Profile
    corpus: Corpus
    results: Path
    seeds: int
    design: str
    backend: str
    size: int
    device: str | None
    scheduler: str | None
    workers: int | None

    @cached_property
    def store(self) -> FrameStore:
        """The registered frames; what is missing of them is registered."""
        how = {"size": self.size, "device": self.device or "cpu"}
        where = {"scheduler": self.scheduler, "workers": self.workers}
        return registered(self.corpus, self.backend, self.results, **how, **where)

    @cached_property
    def folds(self) -> list[Fold]:
        """The folds of the study's design over the store."""
        return make_folds(self.store.frames, self.design, self.store.usable)

    @cached_property
    def sweep(self) -> Sweep:
        """Where runs are trained and kept; a context manager, which lets its workers go."""
        return Sweep(self.results, self.device, self.scheduler, self.workers)

    def configuration(self, model: str, **settings: object) -> Configuration:
        """The configuration of "vit" or "vivit" in this profile.

        `settings` replaces fields of `Configuration`. Raises ConfigurationError.
        """
        stride = self.profile.clip_stride if model == "vivit" else 1
        common = {"backbone": self.profile.backbone, "precision": self.profile.precision}
        return configure(model=model, clip_stride=stride, **common | settings)

    def starts(self, model: str | None = None) -> list[Configuration]:
        """`configuration` of the one model, or of both where it is None: where a search starts."""
        return [self.configuration(one) for one in (MODELS if model is None else [model])]


def open_study(
    profile: str = DEFAULT_PROFILE,
    dataset: str | None = None,
    data_root: str | Path | None = None,
    results: str | Path | None = None,
    device: str | None = None,
    scheduler: str | None = None,
    seeds: int | None = None,
    design: str = "balanced",
    *,
    backend: str | None = None,
    size: int = 224,
    workers: int | None = None,
) -> Study:
    """Open the corpus of a study; the rest is made when it is asked for.

    None means the profile's value, the repository's `results`, the GPU where there is one, this
    machine's cores. `size` is the side of registered images in pixels. Raises PaincoreError for an
    unknown profile, data set or device, and CorpusError as `open_corpus`.
    """
    defaults = profile_named(profile)
    check_device(device)
    corpus = open_corpus(dataset, data_root, profile=profile, results=results)
    folder = Path(results or ROOT / "results")
    seeds, backend = seeds or defaults.seeds, backend or defaults.backend
    where = {"device": device, "scheduler": scheduler, "workers": workers}
    return Study(defaults, corpus, folder, seeds, design, backend, size, **where)
