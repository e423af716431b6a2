from pathlib import Path

import pytest

from tests.miniature import Miniature, write_miniature


@pytest.fixture
def miniature(tmp_path: Path) -> Miniature:
    return write_miniature(tmp_path / "corpus")
