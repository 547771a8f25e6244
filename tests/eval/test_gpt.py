"""Models are what their size says, start the same for the same seed, and their fast loss is the plain one."""

import pytest
import torch
import torch.nn.functional as F

from eval.gpt import build_model, loss, parameter_groups
from eval.sizes import ModelSize, read_size, size_names

TINY = ModelSize(2, 16, 2, 48, 32, 256, 1e-2, 0.05, 0.1)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("name", size_names())
def test_every_size_in_conf_has_the_parameters_it_says(name):
    size = read_size(name, 300_000)
    with torch.device("meta"):
        model = build_model(size, 4096, 0, 0)
    assert sum(p.numel() for p in model.parameters()) == size.parameters(4096)


def test_the_seed_alone_decides_the_first_weights():
    first = weights(build_model(TINY, 300, 0, seed=1))
    torch.rand(7)
    assert torch.equal(first, weights(build_model(TINY, 300, 0, seed=1)))
    assert not torch.equal(first, weights(build_model(TINY, 300, 0, seed=2)))


def test_building_a_model_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_model(TINY, 300, 0, seed=1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("vocabulary", [300, 40_000])
def test_the_loss_in_pieces_is_cross_entropy_and_so_are_its_gradients(vocabulary):
    model = build_model(TINY, vocabulary, 0, seed=1)
    tokens = torch.randint(0, vocabulary, (3, 33), generator=torch.Generator().manual_seed(0))
    plain = F.cross_entropy(model(input_ids=tokens[:, :-1]).logits.flatten(0, 1), tokens[:, 1:].flatten())
    plain.backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    ours = loss(model, tokens[:, :-1], tokens[:, 1:])
    ours.backward()
    assert ours.item() == pytest.approx(plain.item(), rel=1e-6)
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_input_and_output_embeddings_are_one_matrix_and_only_matrices_decay():
    model = build_model(TINY, 300, 0, seed=1)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    matrices, norms = parameter_groups(model, 0.1)
    assert (matrices["weight_decay"], norms["weight_decay"]) == (0.1, 0.0)
    assert sum(p.numel() for group in (matrices, norms) for p in group["params"]) == TINY.parameters(300)
    assert all(p.dim() == 1 for p in norms["params"])
