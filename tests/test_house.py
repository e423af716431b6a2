from pathlib import Path

import pytest

from tools import house


def test_the_house_keeps_its_own_rules():
    assert house.faults() == []


def test_a_line_counts_only_if_it_holds_code():
    assert house.code_lines('"""What it is.\n\nMore."""\n\n# why\nx = """a\nb"""\n') == 2


@pytest.mark.parametrize(
    ("file", "line", "allowed"),
    [
        ("data/corpus.py", "from paincore.training import vit", False),
        ("training/vit.py", "from paincore.data import corpus", True),
        ("style.py", "from paincore.data import corpus", False),
        ("attention/maps.py", "from paincore.study import open_study", False),
        ("cli.py", "from paincore.book.chapters import build_book", True),
    ],
)
def test_an_import_against_the_order_of_chapters_is_found(tmp_path: Path, file, line, allowed):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(line + "\n")
    assert (house.backward_imports(tmp_path) == []) is allowed
