import subprocess
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tools import check_no_faces as check

ROOT = Path(__file__).resolve().parents[1]


def git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 128:
        pytest.skip("not a git checkout")
    return done.stdout.split()


def test_everything_in_the_repository_is_let_in():
    files = [name for name in git("ls-files") if name not in check.ALLOWED]
    assert {n: check.fault(ROOT / n) for n in files if check.fault(ROOT / n)} == {}


def test_what_is_computed_lies_where_git_does_not_look():
    computed = ["data/x.png", "results/runs/a/weights.safetensors", "results/store/images.npy"]
    computed += ["book/chapters/01-data.ipynb", "book/_build/html/index.html"]
    assert git("check-ignore", *computed) == computed


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.tif", "a.webp", "a.bmp", "a.txt"])
def test_a_picture_is_refused_whatever_it_is_called(name, tmp_path, capsys):
    kind = "png" if name == "a.txt" else name[2:].replace("jpg", "jpeg").replace("tif", "tiff")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / name, format=kind)
    assert check.main([str(tmp_path / name)]) == 1
    assert name in capsys.readouterr().out


def test_tables_arrays_weights_and_executed_notebooks_are_refused(tmp_path):
    pd.DataFrame({"probability": [0.5]}).to_parquet(tmp_path / "predictions.parquet")
    np.save(tmp_path / "views.npy", np.zeros(3))
    (tmp_path / "weights.safetensors").write_bytes(b"12345678")
    output = nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo="})
    cell = nbformat.v4.new_code_cell("x", outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "ran.ipynb")
    (tmp_path / "page.html").write_text('<img src="data:image/png;base64,iVBORw0KGgo=">')
    for file in tmp_path.iterdir():
        assert check.main([str(file)]) == 1, file.name
    cell.outputs = []
    clean = tmp_path / "clean.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), clean)
    assert check.main([str(clean)]) == 0
