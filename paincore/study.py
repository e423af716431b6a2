"""A study: what one run of a chapter, or of the command line, works on.

The parameters of a chapter are those of `open_study`. Each part is made when it is first asked for,
so that a chapter which shows labels alone registers nothing.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from paincore import PaincoreError
from paincore.data.corpus import Corpus, open_corpus
from paincore.folds.designs import Fold, check_design, default_design, make_folds
from paincore.manifest import ROOT
from paincore.profiles import Profile, check_device, default_profile, profile_named
from paincore.registration.frame_store import FrameStore
from paincore.registration.store import registered
from paincore.training.backbones import pinned
from paincore.training.configuration import MODELS, Configuration, configure
from paincore.training.cost import days_of_the_paper
from paincore.training.gpu import precision_on
from paincore.training.sweep import Sweep
from paincore.training.train import best_device


class StudyError(PaincoreError):
    """A study that would not do what is meant."""


@dataclass(frozen=True)
class Study:
    """One corpus, how it is registered and dealt to folds, and where its trainings run."""

    profile: Profile
    corpus: Corpus
    results: Path
    seeds: int
    design: str
    protocol: str
    backbone: str
    backend: str
    size: int
    device: str | None
    scheduler: str | None
    workers: int | None
    deterministic: bool

    @cached_property
    def store(self) -> FrameStore:
        """The registered frames; what is missing of them is registered."""
        # A scheduler's workers may have no GPU, whatever this machine has.
        device = self.device or ("cpu" if self.scheduler else best_device(None).type)
        how = {"size": self.size, "device": device}
        where = {"scheduler": self.scheduler, "workers": self.workers}
        return registered(self.corpus, self.backend, self.results, **how, **where)

    @cached_property
    def folds(self) -> list[Fold]:
        """The folds of the study's design over the store."""
        return make_folds(self.store.frames, self.design, self.store.usable)

    @cached_property
    def sweep(self) -> Sweep:
        """Where runs are trained and kept; a context manager, which lets its workers go.

        Raises StudyError as `check_cost`.
        """
        self.check_cost()
        where = {"scheduler": self.scheduler, "workers": self.workers}
        return Sweep(self.results, self.device, **where, deterministic=self.deterministic)

    def check_cost(self) -> None:
        """Raise StudyError where the paper's models would train on this CPU, unless told to.

        It says how long they would take, by a measurement of seconds.
        """
        asked = self.profile.name != "paper" or self.device or self.scheduler
        if not asked and best_device(None).type == "cpu":
            days = days_of_the_paper(len(self.corpus.frames))
            raise StudyError(
                f"There is no GPU here, and on this processor the paper's trainings would take "
                f"about {days:.0f} days. Name a machine with a GPU (SCHEDULER), take PROFILE=demo, "
                "or ask for it (DEVICE=cpu)."
            )

    @property
    def precision(self) -> str:
        """The profile's, or "fp32" where this device would only imitate it."""
        wanted = self.profile.precision
        return wanted if self.scheduler else precision_on(best_device(self.device), wanted)

    def configuration(self, model: str, **settings: object) -> Configuration:
        """The configuration of "vit" or "vivit" in this profile.

        `settings` replaces fields of `Configuration`. Raises ConfigurationError.
        """
        common = {
            "backbone": self.backbone,
            "protocol": self.protocol,
            "precision": self.precision,
            "clip_stride": self.profile.clip_stride if model == "vivit" else 1,
        }
        return configure(model=model, **common | settings)

    def starts(self, model: str | None = None) -> list[Configuration]:
        """`configuration` of the one model, or of both where it is None: where a search starts."""
        return [self.configuration(one) for one in (MODELS if model is None else [model])]


def open_study(
    profile: str | None = None,
    dataset: str | None = None,
    data_root: str | Path | None = None,
    results: str | Path | None = None,
    device: str | None = None,
    scheduler: str | None = None,
    seeds: int | None = None,
    design: str | None = None,
    protocol: str = "paper",
    backbone: str | None = None,
    deterministic: bool = False,
    *,
    backend: str | None = None,
    size: int = 224,
    workers: int | None = None,
) -> Study:
    """Open the corpus of a study; the rest is made when it is asked for.

    None means the profile's value, the repository's `results`, the GPU where there is one, this
    machine's cores. `profile` None is "paper" for UNBC-McMaster, else "demo". `design` None is the
    authors' own lists ("published") for UNBC-McMaster's people, else the paper's procedure
    ("pair_and_shuffle"). `deterministic` asks a GPU for the same bits each time. `size` is the side
    of registered images in pixels. Raises PaincoreError for an unknown profile, design, data set or
    device, and CorpusError as `open_corpus`.
    """
    defaults = profile_named(profile or default_profile(dataset))
    check_device(device)
    check_design(design)
    corpus = open_corpus(dataset, data_root, profile=defaults.name, results=results)
    return Study(
        profile=defaults,
        corpus=corpus,
        results=Path(results or ROOT / "results"),
        seeds=seeds or defaults.seeds,
        design=design or default_design(corpus.frames),
        protocol=protocol,
        backbone=pinned(backbone or defaults.backbone),
        backend=backend or defaults.backend,
        size=size,
        device=device,
        scheduler=scheduler,
        workers=workers,
        deterministic=deterministic,
    )
