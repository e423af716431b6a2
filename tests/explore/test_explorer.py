"""The frame of every widget: what a browser gets, and what a notebook keeps."""

import nbformat
import pytest
from matplotlib.figure import Figure

from paincore import PaincoreError
from paincore.book.chapters import execute_chapter
from paincore.explore.explorer import Explorer, Shown, slider
from paincore.manifest import dataset_named
from paincore.style import may_be_shown

UNBC = dataset_named("unbc")


def asked(explorer: Explorer) -> list:
    """The images that are sent from now on to a browser that has asked for them."""
    sent = []
    explorer.image.send = lambda message, buffers=None: sent.append(buffers[0])
    explorer.image._handle_custom_msg("show", [])
    return sent


def restricted() -> tuple[Explorer, list[bool]]:
    """An explorer of a corpus whose faces may not be shown, and whether each image showed one."""
    faces = []

    def show(value: int) -> Shown:
        if value == 3:
            raise PaincoreError("three is <not> there")

        def render() -> Figure:
            faces.append(may_be_shown(UNBC, "aa001"))
            figure = Figure(figsize=(2, 1))
            figure.subplots().plot([0, value])
            return figure

        return Shown(f"it is {value}", render)

    return Explorer({"value": slider("value", 0, 5, 1, 1)}, show), faces


def test_an_image_is_sent_to_who_asks_and_is_in_no_state():
    explorer, faces = restricted()
    explorer.controls["value"].value = 2
    assert not faces  # nobody has looked
    sent = asked(explorer)
    explorer.controls["value"].value = 4
    assert len(sent) == 2 and sent[0] != sent[1]
    assert all(image[:4] == b"\x89PNG" for image in sent)
    for widget in (explorer, explorer.image, *explorer.children):
        assert not any(isinstance(v, bytes | memoryview) for v in widget.get_state().values())


def test_a_restricted_face_is_shown_live_and_not_in_the_output_that_a_notebook_keeps():
    explorer, faces = restricted()
    asked(explorer)
    assert faces == [True]
    data, _ = explorer._repr_mimebundle_()
    assert faces == [True, False]
    assert data["image/png"][:4] == b"\x89PNG"


def test_the_text_follows_the_controls_and_says_what_is_wrong():
    explorer, _ = restricted()
    assert explorer.text == explorer.image.alt == "it is 1"
    explorer.set(value=3)
    assert explorer.text == "three is <not> there"
    assert "three is &lt;not&gt; there" in explorer.below.value
    assert explorer._repr_mimebundle_()[0]["image/png"]
    explorer.set(value=2)
    assert explorer.text == "it is 2"


def test_a_page_keeps_the_still_of_a_live_widget_and_the_players_that_need_no_kernel(tmp_path):
    live = """\
from matplotlib.figure import Figure
from paincore.explore.explorer import Explorer, Shown, slider
Explorer({"v": slider("v", 0, 2, 1, 1)}, lambda v: Shown("", Figure))"""
    play = """\
from matplotlib.figure import Figure
from paincore.explore.explorer import Shown
from paincore.explore.players import player
player([Shown("one", Figure), Shown("two", Figure)])"""
    cells = [nbformat.v4.new_code_cell(source) for source in (live, play)]
    source, done = tmp_path / "01.ipynb", tmp_path / "out" / "01.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), source)
    execute_chapter(source, done, {"parameters": {}, "kernel": None}, banner="")
    book = nbformat.read(done, 4)
    live, played = (cell.outputs[-1].data for cell in book.cells[-2:])
    view = "application/vnd.jupyter.widget-view+json"
    assert view not in live and "image/png" in live
    models = book.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    kinds = [model["model_name"] for model in models.values()]
    assert {"StackModel", "PlayModel", "LinkModel"} <= set(kinds)
    assert "AnyModel" not in kinds and kinds.count("HTMLModel") == 2  # the player's two images
    assert played[view]["model_id"] in models


def test_faces_are_restricted_again_once_the_image_is_rendered():
    explorer, _ = restricted()
    asked(explorer)
    explorer.shown = Shown("", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        explorer.send_image()
    assert not may_be_shown(UNBC, "aa001")
