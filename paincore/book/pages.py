"""What readers get around what chapters compute: a banner, words for figures, the title page, and
the page on this build. Used by `paincore.book.chapters`.
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
from paincore.data.corpus import Corpus, compare_counts

SYNTHETIC = """\
:::{admonition} Synthetic data
:class: warning
Everything on this page was computed on drawn faces whose pain was simulated. It shows that the
method runs and how it behaves; no number here reproduces a result of the paper.
:::
"""


HEAVY = 250_000  # characters of base64, from which on a picture is kept as JPEG
NEED_A_KERNEL = {"OutputModel", "AnyModel"}  # widgets that a page would look for online


def banner(corpus: Corpus) -> str:
    """What every page says at its top of the data that it was computed on, in Markdown."""
    if corpus.dataset.synthetic:
        return SYNTHETIC
    counts = compare_counts(corpus.frames, corpus.dataset.expected)
    met = (counts["expected"] == counts["found"]).sum()
    compared = (
        f"Of the {len(counts)} counts that the data manifest expects of {corpus.dataset.title}, "
        f"{met} are met."
    )
    return f"""\
:::{{admonition}} Data of this copy
Computed on {corpus.label}.
{compared if len(counts) else ""}
:::
"""


def write_title(corpus: Corpus, profile: str, chapters: Path) -> None:
    """Write what the title page says of this copy: its banner, its picture, its corpus."""
    picture = figures.faces_by_pspi(corpus, count=5, columns=5)
    partial = chapters / "title.partial.png"
    picture.savefig(partial, dpi=200)
    partial.replace(chapters / "title.png")
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
    partial = chapters / "title.partial.md"
    partial.write_text(text, "utf-8")
    partial.replace(chapters / "title.md")


def made_in(seconds: float) -> dict:
    """When and on what machine a chapter was executed, and how long it took, for `write_build`."""
    return {
        "seconds": round(seconds),
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": f"paincore {__version__}, Python {platform.python_version()}, "
        f"torch {version('torch')}",
    }


def _processor() -> str:
    """The processor's name where Linux tells it, else its kind."""
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def write_build(chapters: Path) -> None:
    """Write the page on this build: what each chapter took, when and where, and the chapters as
    notebooks to take away."""
    rows = []
    for path in sorted(chapters.glob("[0-9]*.ipynb")):
        if path.name.endswith(".partial.ipynb"):
            continue
        book = nbformat.read(path, as_version=4)
        made = book.metadata.get("paincore_made")
        if made is not None:
            title = book.cells[0].source.partition("\n")[0].lstrip("# ")
            link = f"[{title}]({path.name})"
            notebook = f"{{download}}`notebook <{path.name}>`"
            rows.append((link, f"{made['seconds']}\u00a0s", notebook, made["at"], made))
    machines = sorted({f"{made['machine']}; {made['versions']}" for *_, made in rows})
    table = "\n".join(f"| {' | '.join(row[:4])} |" for row in rows)
    total = sum(made["seconds"] for *_, made in rows)
    text = f"""\
# This build

The chapters of this copy took {total} s, the environment and the rendering of pages aside. A
chapter of which nothing has changed is not executed again; its time is that of when it last was.
What a chapter needs and an earlier build has left, a corpus, a registration, trained models, is
opened and not made again: in a first build chapters take longer than in a later one.

| chapter | took | with its outputs | executed |
|---|---|---|---|
{table}

Made on: {"; and on: ".join(machines)}.
"""
    partial = chapters / "build.partial.md"
    partial.write_text(text, "utf-8")
    partial.replace(chapters / "build.md")


def prepare_for_reading(book: nbformat.NotebookNode, inputs: dict, banner: str) -> None:
    """Make an executed chapter a page: the banner under its title, injected parameters folded,
    words for its figures, no widget that needs a kernel, images found from the book's folder; and
    note what it was made from."""
    title, _, rest = book.cells[0].source.partition("\n")
    book.cells[0].source = f"{title}\n\n{banner}{rest}"
    for cell in book.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata["tags"].append("hide-input")
            cell.metadata["mystnb"] = {"code_prompt_show": "What was set in this run"}
        if cell.cell_type == "markdown":  # notebooks lie beside the book, pages within it
            cell.source = cell.source.replace("](../book/", "](../")
    _keep_rendered_widgets(book)
    _describe_figures(book)
    _lighten_pictures(book)
    # Through JSON, so that it compares equal to what is read back.
    book.metadata["paincore"] = json.loads(json.dumps(inputs))


def _describe_figures(book: nbformat.NotebookNode) -> None:
    """Give each figure the caption below it as its alternative text, for who cannot see it."""
    for cell, caption in zip(book.cells, book.cells[1:], strict=False):
        pictures = any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))
        if pictures and caption.cell_type == "markdown":
            words = re.sub(r"\{[\w:]+\}`[^`]*`|[*`$]", "", caption.source.partition("\n\n")[0])
            words = " ".join(re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", words).split())
            shown = cell.metadata.get("mystnb", {})
            cell.metadata["mystnb"] = {**shown, "image": {"alt": words.replace('"', "'")}}


def _lighten_pictures(book: nbformat.NotebookNode) -> None:
    """Keep figures full of faces as JPEG: as PNG a page of them would weigh several megabytes."""
    for cell in book.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if len(data.get("image/png", "")) > HEAVY:
                picture = Image.open(BytesIO(b64decode(data.pop("image/png")))).convert("RGB")
                file = BytesIO()
                picture.save(file, "jpeg", quality=88, subsampling=0)
                data["image/jpeg"] = b64encode(file.getvalue()).decode()
                if size := output.get("metadata", {}).pop("image/png", None):
                    output["metadata"]["image/jpeg"] = size


def _keep_rendered_widgets(book: nbformat.NotebookNode) -> None:
    """Keep the widgets that a page can show without a kernel and without the network.

    Output widgets, in which progress bars run, and live pictures (`paincore.explore.explorer`) need
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
    for name in set(models) - shown - _links(models, shown):
        del models[name]


def _parts(name: str | None, models: dict) -> set[str]:
    """A widget and all that it is made of, by model id; nothing for None."""
    found, waiting = set(), [name] if name in models else []
    while waiting:
        found.add(one := waiting.pop())
        named = re.findall(r"IPY_MODEL_(\w+)", json.dumps(models[one]["state"]))
        waiting += [other for other in named if other in models and other not in found]
    return found


def _links(models: dict, shown: set[str]) -> set[str]:
    """The links between widgets that are shown: nothing names them, they name what they link."""
    links = [name for name in models if models[name]["model_name"].endswith("LinkModel")]
    return {name for name in links if _parts(name, models) & shown}
