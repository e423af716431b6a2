import cv2
import ipywidgets
import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure

from paincore import PaincoreError
from paincore.book.chapters import execute_chapter
from paincore.explore.explorer import Explorer, LivePicture, encoded, slider
from paincore.manifest import dataset_named
from paincore.style import may_be_shown

UNBC = dataset_named("unbc")


def sent_by(picture: LivePicture) -> list:
    found = []
    picture.send = lambda message, buffers=None: found.append((message, buffers))
    return found


def ask(picture: LivePicture) -> None:
    """What the script in a browser does when it shows the picture."""
    picture._handle_custom_msg({"kind": "show"}, [])


def restricted() -> tuple[Explorer, list[bool]]:
    """An explorer of a corpus whose faces may not be shown, and whether each drawing showed one."""
    shown = []

    def draw(value: int) -> Figure:
        shown.append(may_be_shown(UNBC, "aa001"))
        figure = Figure(figsize=(2, 1))
        figure.subplots().plot([0, value])
        return figure

    def say(value: int) -> str:
        if value == 3:
            raise PaincoreError("three is <not> there")
        return f"it is {value}"

    controls = {"value": slider("value", 0, 5, 1, 1)}
    return Explorer(controls, draw, say, lambda: draw(1)), shown


def test_a_picture_is_sent_to_who_asks_and_is_in_no_state():
    explorer, shown = restricted()
    sent = sent_by(explorer.picture)
    explorer.controls["value"].value = 2
    assert not sent and not shown  # nobody has looked
    ask(explorer.picture)
    explorer.controls["value"].value = 4
    assert [message["kind"] for message, _ in sent] == ["picture"] * 2
    assert all(buffers[0][:4] == b"\x89PNG" for _, buffers in sent)
    assert sent[0][1] != sent[1][1]
    for widget in (explorer, explorer.picture, *explorer.children):
        assert not any(isinstance(v, bytes | memoryview) for v in widget.get_state().values())


def test_a_restricted_face_is_drawn_live_and_not_in_the_output_that_a_notebook_keeps():
    explorer, shown = restricted()
    sent_by(explorer.picture)
    ask(explorer.picture)
    assert shown == [True]
    data, _ = explorer._repr_mimebundle_()
    assert shown == [True, False]
    assert data["image/png"][:4] == b"\x89PNG"


def test_the_sentence_follows_the_controls_and_a_fault_is_said():
    explorer, _ = restricted()
    assert explorer.said == explorer.picture.alt == "it is 1"
    explorer.set(value=2)
    assert explorer.said == "it is 2"
    explorer.set(value=3)
    assert explorer.said == "three is <not> there"
    assert "three is &lt;not&gt; there" in explorer.sentence.value


def test_pixels_come_as_they_are_but_for_jpeg():
    pixels = np.full((32, 48, 3), (200, 80, 20), np.uint8)
    kind, data = encoded(pixels)
    assert kind == "image/jpeg"
    back = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert back.shape == pixels.shape
    assert abs(back.astype(int) - pixels).max() < 8


def test_a_page_keeps_the_still_of_a_live_widget_and_the_players_that_need_no_kernel(tmp_path):
    code = """\
import ipywidgets
from matplotlib.figure import Figure
from paincore.explore.explorer import Explorer, slider
from paincore.explore.players import player
live = Explorer({"v": slider("v", 0, 2, 1, 1)}, lambda v: Figure(), lambda v: "", Figure)
live"""
    play = 'player([ipywidgets.Image(value=b"1"), ipywidgets.Image(value=b"2")])'
    cells = [nbformat.v4.new_markdown_cell("# A chapter")]
    cells += [
        nbformat.v4.new_code_cell(source)
        for source in (code.replace("str,", "lambda v: '',"), play)
    ]
    cells += [nbformat.v4.new_markdown_cell("**Figure 1.** *Two* `frames` {cite:p}`a`.\n\nMore.")]
    source, done = tmp_path / "01.ipynb", tmp_path / "out" / "01.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), source)
    execute_chapter(source, done, {}, inputs={}, banner="")
    book = nbformat.read(done, 4)
    live, played = (cell.outputs[-1].data for cell in book.cells if cell.cell_type == "code")
    view = "application/vnd.jupyter.widget-view+json"
    assert view not in live and "image/png" in live
    models = book.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    kinds = {model["model_name"] for model in models.values()}
    assert {"StackModel", "PlayModel", "LinkModel", "ImageModel"} <= kinds
    assert "AnyModel" not in kinds and "HTMLModel" not in kinds
    assert played[view]["model_id"] in models


def test_only_figures_laid_out_alike_share_a_layout():
    explorer, _ = restricted()
    sent = sent_by(explorer.picture)
    ask(explorer.picture)
    fresh = sent[-1][1][0]
    explorer.picture.redraw(moved=True)
    assert sent[-1][1][0] == fresh  # the same figure, laid out as the one before


@pytest.mark.parametrize("step", [1, 0.5])
def test_a_slider_counts_in_its_step(step):
    kind = ipywidgets.IntSlider if step == 1 else ipywidgets.FloatSlider
    assert type(slider("x", 0, 5, step, 1)) is kind


def test_live_ends_with_the_drawing():
    explorer = restricted()[0]
    sent_by(explorer.picture)
    explorer.picture.draw = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        explorer.picture.asked_for = True
        explorer.picture.redraw()
    assert not may_be_shown(UNBC, "aa001")
    assert may_be_shown(replace_faces(UNBC), "aa001")


def replace_faces(dataset):
    return dataset.model_copy(update={"faces_may_be_shown": True, "shown_subjects": ("aa001",)})
