"""Models are what their size says, start the same for the same seed, and their fast loss is the plain one."""

import pytest
import torch
import torch.nn.functional as F

from eval.gpt import Loss, build_model, hidden_states, parameter_groups, piece_for_compiler
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


LOSSES = {
    "on a CPU": Loss(),
    "in one piece": Loss(piece=piece_for_compiler, logits=2**30),
    "in pieces, for a compiler": Loss(piece=piece_for_compiler, logits=2**19),
}


def plain_and(ours, vocabulary):
    """The plain loss and ours, each with the gradients of all parameters."""
    model = build_model(TINY, vocabulary, 0, seed=1)
    tokens = torch.randint(0, vocabulary, (3, 33), generator=torch.Generator().manual_seed(0))

    def plain(model, inputs, targets):
        return F.cross_entropy(model(input_ids=inputs).logits.flatten(0, 1).float(), targets.flatten())

    for loss in (plain, ours):
        model.zero_grad()
        value = loss(model, tokens[:, :-1], tokens[:, 1:])
        value.backward()
        yield value.item(), [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("how", LOSSES)
@pytest.mark.parametrize("vocabulary", [300, 40_000])
def test_the_loss_in_pieces_is_cross_entropy_and_so_are_its_gradients(vocabulary, how):
    (plain, expected), (ours, found) = plain_and(LOSSES[how], vocabulary)
    assert ours == pytest.approx(plain, rel=1e-6)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_in_bfloat16_it_is_the_plain_loss_in_bfloat16():
    with torch.autocast("cpu", torch.bfloat16):
        (plain, expected), (ours, found) = plain_and(LOSSES["in pieces, for a compiler"], 300)
    assert ours == pytest.approx(plain, rel=2e-3)
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine - theirs).norm() < 0.03 * theirs.norm()


def test_the_trunk_is_one_graph_for_a_compiler_and_is_not_compiled_again_for_the_next_run():
    """Traced here; `python -m jobs.bench exact` compiles, which takes minutes. Past eight times nothing is compiled."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    tokens = torch.randint(0, 300, (2, 17), generator=torch.Generator().manual_seed(0))
    for seed in range(3):
        model = build_model(TINY, 300, 0, seed)
        traced = Loss(torch.compile(hidden_states, backend=backend, dynamic=False, fullgraph=True), piece_for_compiler)
        values = [loss(model, tokens[:, :-1], tokens[:, 1:]) for loss in (Loss(), traced)]
        values[1].backward()
        torch.testing.assert_close(*values)
    assert len(graphs) == 1
    assert "model.embed_tokens.weight" in dict(model.named_parameters())


def test_input_and_output_embeddings_are_one_matrix_and_only_matrices_decay():
    model = build_model(TINY, 300, 0, seed=1)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    matrices, norms = parameter_groups(model, 0.1)
    assert (matrices["weight_decay"], norms["weight_decay"]) == (0.1, 0.0)
    assert sum(p.numel() for group in (matrices, norms) for p in group["params"]) == TINY.parameters(300)
    assert all(p.dim() == 1 for p in norms["params"])
