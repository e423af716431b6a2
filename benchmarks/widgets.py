"""How long a widget of chapter 08 takes to answer one step of a slider.

`python benchmarks/widgets.py` prints its figures as one JSON object on the last line. The demo
corpus, its runs and models are opened, or made where they are missing. Each figure is the median of
twenty steps, from the slider's new value to the encoded image that a browser would get; what the
browser and the network add is not in it.

- `slider_ms`: milliseconds by widget; `face_ms` is that of the face, rendered at 256 pixels,
  registered, and the model asked.
- `face_by_matplotlib_ms`: the same face with its view drawn as a figure with savefig, the way that
  the other chapters make their figures; the baseline of `face_ms`.
"""

import json
import statistics
import time
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from paincore.ablations.search import ablate
from paincore.attention.explained import explain
from paincore.explore.ablations import explore_ablations
from paincore.explore.attention import explore_attention
from paincore.explore.explorer import Explorer
from paincore.explore.face import explore_face
from paincore.explore.folds import explore_folds
from paincore.explore.registration import explore_registration
from paincore.explore.video import explore_video
from paincore.registration.backends import backends_here
from paincore.study import open_study

STEPS = 20


def main() -> None:
    study = open_study()
    corpus, store, folds = study.corpus, study.store, study.folds
    vit = study.configuration("vit", unfrozen_layers=12, learning_rate=2e-4)
    with study.sweep as sweep:
        ablations = ablate(study)
        runs = sweep.train_all(store, [vit], folds)
    models = [explain(run, store) for run in runs]
    face = explore_face(models[0])
    numbers = range(STEPS)
    figures = {
        "face": milliseconds(face, "au4", [n / 4 for n in numbers]),
        "registration": milliseconds(
            explore_registration(corpus, backends_here()), "place", numbers
        ),
        "folds": milliseconds(
            explore_folds(corpus, store.frames, folds), "fold", [1 + n % 5 for n in numbers]
        ),
        "ablations": milliseconds(
            explore_ablations(corpus, ablations), "threshold", [0.05 + n / 25 for n in numbers]
        ),
        "attention": milliseconds(explore_attention(corpus, models), "place", numbers),
        "video": milliseconds(explore_video(corpus, models[0]), "place", numbers),
    }
    figures = {name: round(value, 1) for name, value in figures.items()}
    face.show = plotted(face.show)
    baseline = milliseconds(face, "au6", [n / 4 for n in numbers])
    print(f"{Path(__file__).name}: medians of {STEPS} steps")
    printed = {"slider_ms": figures, "face_ms": figures["face"]}
    print(json.dumps(printed | {"face_by_matplotlib_ms": round(baseline, 1)}))


def milliseconds(explorer: Explorer, control: str, values) -> float:
    """The median time of a step, once a browser has asked for the image."""
    explorer.image.send = lambda message, buffers: None
    explorer.image._handle_custom_msg("show", [])
    took = []
    for value in values:
        begun = time.perf_counter()
        explorer.controls[control].value = value
        took.append(1000 * (time.perf_counter() - begun))
    return statistics.median(took)


def plotted(show):
    """What `show` returns, its pixels as the figure that other chapters would make of them."""

    def as_figure(**state):
        shown = show(**state)
        figure = Figure(figsize=(5.3, 2.6), layout="constrained")
        axes = figure.subplots()
        axes.imshow(shown.render())
        axes.set_axis_off()
        figure.savefig(BytesIO(), format="png", dpi=100)
        return shown

    return as_figure


if __name__ == "__main__":
    main()
