import subprocess
import sys

import pytest
import torch
from transformers import ViTConfig

from paincore.training.backbones import DEMO, random_encoder
from paincore.training.configuration import configure
from paincore.training.gpu import computing, graphed_steps
from paincore.training.train import train_fold
from paincore.training.vit import PainTransformer, freeze, frozen_depth
from tests.helpers.trainable import fold_of, write_store_with_a_signal

CPU = torch.device("cpu")
BARE = ("dask", "distributed", "pandera", "pooch", "papermill", "captum", "numba", "ipywidgets",
        "ai_edge_litert", "typer", "av")  # fmt: skip


def test_a_machine_without_the_books_libraries_can_train_and_record_attention():
    script = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in BARE)
    script += "import paincore.training.train, paincore.attention.maps"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_training_leaves_torch_as_it_was_even_if_it_fails():
    before, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(2)
    with pytest.raises(ZeroDivisionError), computing(CPU, deterministic=True):
        assert torch.get_num_threads() == 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    assert torch.get_float32_matmul_precision() == precision
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("freezing", ["attention", "released"])
def test_only_steps_of_sixteen_run_as_a_graph_of_the_blocks_that_train(monkeypatch, freezing):
    """Without a GPU the graph is stood in for by the module that would be captured."""
    captured = []

    def capture(module, samples, allow_unused_input):
        captured.append((module, samples[0]))
        return lambda hidden: module(hidden) + 1

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", capture)
    encoder = random_encoder(ViTConfig(**DEMO), 0)
    model = PainTransformer(encoder, 1, torch.Generator().manual_seed(0))
    freeze(model, 4, freezing)
    depth = frozen_depth(model)
    eager = PainTransformer.cls
    with graphed_steps(model, depth, "fp32"):
        (module, sample) = captured[0]
        parts = (encoder.layers[depth or 0 :], encoder.layernorm)
        assert {*module.parameters()} == {p for part in parts for p in part.parameters()}
        assert sample.requires_grad == (freezing == "released")
        hidden = torch.randn(16, *sample.shape[1:], generator=torch.Generator().manual_seed(1))
        for part, graphed in ((hidden, True), (hidden[:14], False)):
            expected = eager(model, part, depth or 0) + graphed
            assert torch.equal(model.cls(part, depth or 0), expected)
        with torch.inference_mode():
            assert torch.equal(model.cls(hidden, depth or 0), eager(model, hidden, depth or 0))
    assert torch.equal(model.cls(hidden, depth or 0), eager(model, hidden, depth or 0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("model", ["vit", "vivit"])
def test_a_gpu_trains_what_a_cpu_trains(tmp_path, model):
    store, fold = write_store_with_a_signal(tmp_path / "store"), fold_of(1)
    config = configure(model=model, mixup_alpha=0.5)
    here, there = (
        train_fold(store, config, fold, 0, tmp_path / name, name, show_progress=False).predictions
        for name in ("cpu", "cuda")
    )
    assert abs(here["probability"] - there["probability"]).max() < 0.02
