import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from paincore.training import vit
from paincore.training.backbones import load_encoder
from paincore.training.vit import PainTransformer, freeze

PROTOCOLS = ["attention", "released"]


def model_of(frames, seed=0):
    """A model on a random encoder whose weights are large enough for its attention to choose."""
    encoder = load_encoder("random", seed=7)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(4 if parameter.ndim > 1 else 1)
    return PainTransformer(encoder, frames, torch.Generator().manual_seed(seed)).eval()


@pytest.fixture(params=[1, 4], ids=["vit", "vivit"])
def model(request):
    return model_of(request.param)


def frames_for(model, samples=3, seed=0):
    shape = (samples, model.frames, model.image_size, model.image_size, 3)
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, shape, np.uint8))


def pixels_for(model, samples=3):
    return model.pixels(frames_for(model, samples))


def full_logits(model, pixels):
    """What transformers' own forward pass gives, all tokens through all blocks."""
    return model.head(model.dropout(model.encoder(pixels).last_hidden_state[:, 0]))


def trained_names(unfrozen, freezing):
    """The names of what trains in the 12-block encoder, written down from facts.md."""
    names = {"head.weight", "head.bias"}
    parts = ["q_proj", "k_proj", "v_proj"] + ["o_proj"] * (freezing == "attention")
    modules = [f"attention.{part}" for part in parts]
    if freezing == "released":
        modules += ["mlp.fc1", "layernorm_before", "layernorm_after"]
        names |= {"encoder.layernorm.weight", "encoder.layernorm.bias"}
        names |= {f"encoder.embeddings.{name}" for name in ("cls_token", "position_embeddings")}
        names |= {f"encoder.embeddings.patch_embeddings.projection.{w}" for w in ("weight", "bias")}
    for block in range(12 - unfrozen, 12):
        for module in modules:
            names |= {f"encoder.layers.{block}.{module}.{kind}" for kind in ("weight", "bias")}
    return names


def test_the_mosaic_reads_from_top_left_to_bottom_right():
    model = model_of(4)
    frames = frames_for(model)
    mosaic = model.pixels(frames)
    quarters = [(0, 0), (0, 48), (48, 0), (48, 48)]
    for frame, (top, left) in enumerate(quarters):
        quarter = mosaic[:, :, top : top + 48, left : left + 48]
        expected = (frames[:, frame].float() / 255 - 0.5) / 0.5
        assert torch.equal(quarter, expected.movedim(-1, 1))
    assert (mosaic.min(), mosaic.max()) == (-1, 1)


def test_with_repeated_positions_the_order_of_the_four_frames_cannot_be_told():
    model = model_of(4)
    frames = frames_for(model)
    logits = model(model.pixels(frames))
    swapped = model(model.pixels(frames[:, [3, 1, 0, 2]]))
    torch.testing.assert_close(swapped, logits, rtol=0, atol=1e-5)
    assert (logits[0] - logits[1]).abs().max() > 1e-2


@pytest.mark.parametrize("freezing", PROTOCOLS)
def test_the_last_block_for_cls_alone_equals_the_full_forward_pass(model, freezing):
    freeze(model, 6, freezing)
    pixels, target = pixels_for(model), torch.tensor([0, 1, 1])
    logits, reference = model(pixels), full_logits(model, pixels)
    torch.testing.assert_close(logits, reference, rtol=0, atol=1e-5)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    ours = torch.autograd.grad(cross_entropy(logits, target), trained.values())
    theirs = torch.autograd.grad(cross_entropy(reference, target), trained.values())
    for name, mine, full in zip(trained, ours, theirs, strict=True):
        torch.testing.assert_close(mine, full, rtol=1e-4, atol=1e-5, msg=name)
    assert max(gradient.abs().max() for gradient in theirs) > 1e-2


@pytest.mark.parametrize("depth", [0, 1, 6, 11, 12])
def test_below_and_above_meet_at_every_depth(model, depth):
    pixels = pixels_for(model)
    split = model.above(model.below(pixels, depth), depth)
    torch.testing.assert_close(split, full_logits(model, pixels), rtol=0, atol=1e-5)


def test_what_a_gpu_compiles_is_one_graph_and_gives_the_same_gradients():
    """On a GPU `cls` is compiled; here by the compiler's own parts that need no GPU."""
    model, compiled = (
        PainTransformer(load_encoder("random"), 1, torch.Generator()).train() for _ in range(2)
    )
    compiled.cls = torch.compile(compiled.cls, backend="aot_eager", fullgraph=True)
    hidden = model.below(torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(0)), 8)
    gradients = []
    for each in (model, compiled):
        freeze(each, 4, "attention")
        each.above(hidden.detach(), 8).square().sum().backward()
        gradients.append([p.grad for p in each.parameters() if p.grad is not None])
    assert len(gradients[0]) == 4 * 8 + 2
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("freezing", PROTOCOLS)
@pytest.mark.parametrize("unfrozen", [1, 6, 12])
def test_an_optimiser_step_moves_what_the_protocol_trains_and_nothing_else(unfrozen, freezing):
    model = model_of(1).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    freeze(model, unfrozen, freezing)
    lowest = 12 - unfrozen if freezing == "attention" else None
    assert vit.frozen_depth(model) == lowest  # all below it stays the same
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
    cross_entropy(model(pixels_for(model)), torch.tensor([0, 1, 1])).backward()
    optimiser.step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == trained_names(unfrozen, freezing)


def test_dropout_and_head_follow_from_the_generator_and_touch_no_global_one():
    before = torch.get_rng_state()
    outcomes = []
    for seed in (0, 0, 1):
        model = model_of(1, seed).train()
        outcomes.append((model.head.weight.detach(), model.dropout(torch.ones(200, 500))))
    assert torch.equal(torch.get_rng_state(), before)
    for one, same, other in zip(*outcomes, strict=True):
        assert torch.equal(one, same)
        assert not torch.equal(one, other)
    dropped = outcomes[0][1]
    assert (dropped == 0).float().mean().item() == pytest.approx(0.10, abs=0.005)
    assert dropped.max().item() == pytest.approx(1 / 0.9)
    assert torch.equal(model.eval().dropout(torch.ones(5)), torch.ones(5))
