from pathlib import Path

import pytest

from paincore.data.corpus import Corpus, open_corpus
from paincore.registration.frame_store import FrameStore
from paincore.registration.store import registered
from synthpain.corpus import synthesize
from tests.helpers.miniature import Miniature, write_miniature


@pytest.fixture
def miniature(tmp_path: Path) -> Miniature:
    return write_miniature(tmp_path / "corpus")


@pytest.fixture(scope="session")
def drawn_corpus(tmp_path_factory) -> Corpus:
    """24 synthetic frames of two people, one black and one cut short among them."""
    root = tmp_path_factory.mktemp("synthetic") / "corpus"
    synthesize(root, frames=24, subjects=2, workers=1, progress=False)
    return open_corpus("synthetic", root, results=root.parent / "results")


@pytest.fixture(scope="session")
def drawn_store(drawn_corpus: Corpus) -> FrameStore:
    """These frames, registered by the landmarker."""
    return registered(drawn_corpus, results=drawn_corpus.root.parent / "results", workers=1)
