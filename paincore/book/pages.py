"""What readers get around what chapters compute: a banner, words for figures, the title page, and
the page on this build.
"""

import json
import os
import platform
import re
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import nbformat
from PIL import Image

from paincore import __version__
from paincore.data import figures
from paincore.data.corpus import Corpus

SYNTHETIC = """\
:::{admonition} Synthetic data
:class: warning
Everything on this page was computed on drawn faces whose pain was simulated. It shows that the
method runs and how it behaves; no number here reproduces a result of the paper.
:::
"""

HEAVY = 250_000  # characters of base64, from which on an image is kept as JPEG
NEED_A_KERNEL = {"OutputModel", "AnyModel"}  # widgets that a page would look for online


def banner(corpus: Corpus) -> str:
    """What every page says at its top of the data that it was computed on, in Markdown."""
    if corpus.dataset.synthetic:
        return SYNTHETIC
    return f":::{{admonition}} Data of this copy\nComputed on {corpus.label}.\n:::\n"


def write_title(corpus: Corpus, profile: str, chapters: Path) -> None:
    """Write what the title page says of this copy: its banner, its figure, its corpus."""
    figures.faces_by_pspi(corpus, count=5, columns=5).savefig(chapters / "title.png", dpi=200)
    people = corpus.frames["subject"].nunique()
    text = f"""\
{banner(corpus)}
```{{figure}} chapters/title.png
:alt: A row of frames of this copy's corpus; the PSPI above each rises from left to right.
:width: 100%

Five frames of the corpus that this copy was made from, by rising PSPI. It has
{len(corpus.frames):,} frames of {people} people ({corpus.label}); the profile is `{profile}`.
```
"""
    (chapters / "title.md").write_text(text, "utf-8")


def made_in(seconds: float) -> dict:
    """When and on what machine a chapter was executed, and how long it took, for `write_build`."""
    return {
        "seconds": round(seconds),
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}; paincore "
        f"{__version__}, Python {platform.python_version()}, torch {version('torch')}",
    }


def write_build(executed: list[Path]) -> None:
    """Write the page on this build: what each chapter took, when and where, and the chapters as
    notebooks to take away."""
    rows, machines, total = [], set(), 0
    for path in executed:
        book = nbformat.read(path, as_version=4)
        made, title = book.metadata["paincore_made"], book.cells[0].source.partition("\n")[0]
        chapter = f"[{title.lstrip('# ')}]({path.name}) | {made['seconds']}\u00a0s"
        rows.append(f"| {chapter} | {{download}}`notebook <{path.name}>` | {made['at']} |\n")
        machines.add(made["machine"])
        total += made["seconds"]
    text = f"""\
# This build

The chapters of this copy took {total} s. One of which nothing has changed is not executed again;
its time is that of its last execution, which is short where it found the models already trained.

| chapter | took | with its outputs | executed |
|---|---|---|---|
{"".join(rows)}
Made on: {"; and on: ".join(sorted(machines))}.
"""
    executed[0].with_name("build.md").write_text(text, "utf-8")


def prepare_for_reading(book: nbformat.NotebookNode, banner: str) -> None:
    """Make an executed chapter a page: the banner under its title, injected parameters folded,
    words for its figures, no widget that needs a kernel, images found from the book's folder."""
    title, _, rest = book.cells[0].source.partition("\n")
    book.cells[0].source = f"{title}\n\n{banner}{rest}"
    for cell, following in zip(book.cells, [*book.cells[1:], book.cells[0]], strict=True):
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata["tags"].append("hide-input")
            cell.metadata["mystnb"] = {"code_prompt_show": "What was set in this run"}
        if cell.cell_type == "markdown":  # notebooks lie beside the book, pages within it
            cell.source = cell.source.replace("](../book/", "](../")
        outputs = cell.get("outputs", [])
        if any("image/png" in output.get("data", {}) for output in outputs):
            _describe_figure(cell, following)
        for output in outputs:
            _lighten_image(output)
    _keep_rendered_widgets(book)


def _describe_figure(cell: nbformat.NotebookNode, caption: nbformat.NotebookNode) -> None:
    """Give a figure the caption below it as its alternative text, for who cannot see it."""
    if caption.cell_type == "markdown":
        words = re.sub(r"\{[\w:]+\}`[^`]*`|[*`$]", "", caption.source.partition("\n\n")[0])
        words = " ".join(re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", words).split())
        shown = cell.metadata.get("mystnb", {})
        cell.metadata["mystnb"] = {**shown, "image": {"alt": words.replace('"', "'")}}


def _lighten_image(output: nbformat.NotebookNode) -> None:
    """Keep a figure full of faces as JPEG: as PNG a page of them would weigh several megabytes."""
    data = output.get("data", {})
    if len(data.get("image/png", "")) > HEAVY:
        file = BytesIO()
        image = Image.open(BytesIO(b64decode(data.pop("image/png")))).convert("RGB")
        image.save(file, "jpeg", quality=88, subsampling=0)
        data["image/jpeg"] = b64encode(file.getvalue()).decode()
        # Its size: an image that is shown smaller than it is opens large at a tap.
        if size := output.get("metadata", {}).pop("image/png", None):
            output["metadata"]["image/jpeg"] = size


def _keep_rendered_widgets(book: nbformat.NotebookNode) -> None:
    """Keep the widgets that a page can show without a kernel and without the network.

    Output widgets, in which progress bars run, and live images (`paincore.explore.explorer`) need
    one of them: of a live widget its still is left, of a bar nothing.
    """
    view = "application/vnd.jupyter.widget-view+json"
    kept = book.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    models = kept.get("state", {})
    shown = set()
    for cell in book.cells:
        for output in list(cell.get("outputs", [])):
            parts = _parts(output.get("data", {}).get(view, {}).get("model_id"), models)
            if not any(models[name]["model_name"] in NEED_A_KERNEL for name in parts):
                shown |= parts
            elif len(output["data"]) > 2:  # beside the view and its text: a still
                del output["data"][view]
            else:
                cell.outputs.remove(output)
    for name in list(models):
        # Nothing names the links between widgets; they name what they link.
        link = models[name]["model_name"].endswith("LinkModel") and _parts(name, models) & shown
        if name not in shown and not link:
            del models[name]


def _parts(name: str | None, models: dict) -> set[str]:
    """A widget and all that it is made of, by model id; nothing for None."""
    found, waiting = set(), [name] if name in models else []
    while waiting:
        found.add(one := waiting.pop())
        named = re.findall(r"IPY_MODEL_(\w+)", json.dumps(models[one]["state"]))
        waiting += [other for other in named if other in models and other not in found]
    return found
