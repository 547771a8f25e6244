"""What only a GPU can show; left out where torch sees none (docs/gpu.md has the figures of one that did)."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from eval import side_by_side
from eval.bits_per_byte import page_nats
from eval.gpt import Loss, build_model
from eval.packed import Stream, write_packed
from eval.plan import RunConfig
from eval.runs import TRAIN, slots
from eval.side_by_side import Slots
from eval.sizes import ModelSize
from eval.slices import EVERY, slices_under
from eval.tokenizer import encode_batch, end_of_text, load_tokenizer, tokenizer_digest, train_tokenizer
from eval.trainer import Steps
from eval.training import train_run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")

SIZE = ModelSize(
    layers=3,
    width=64,
    heads=4,
    feed_forward=192,
    context=64,
    batch_tokens=2048,
    learning_rate=5e-3,
    warmup=0.1,
    weight_decay=0.1,
)
VOCABULARY = 512


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> RunConfig:
    folder = tmp_path_factory.mktemp("data")
    texts = [
        f"Page {i} says that the {i % 7}th cat sat on the {i % 5}th mat, and {i % 11} dogs looked on." for i in range(2000)
    ]
    train_tokenizer(texts, VOCABULARY, folder / "tokenizer")
    tokenizer = load_tokenizer(folder / "tokenizer")
    flat, offsets = encode_batch(tokenizer, texts)
    tokens = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(flat, pa.uint32()))
    pages = pa.table({"id": texts, "id_hash": pa.array(range(len(texts)), pa.uint64()), "tokens": tokens})
    slices = slices_under(pages, EVERY, SIZE.context, 0)
    trained = 60 * SIZE.batch_tokens
    write_packed(
        [slices],
        folder / "all.bin",
        Stream(SIZE.context, 0, "fixed_pool", trained + 1, pool=len(flat) + len(slices)),
        vocabulary=tokenizer.get_vocab_size(),
        end_of_text=end_of_text(tokenizer),
        tokenizer=tokenizer_digest(folder / "tokenizer"),
    )
    return RunConfig(
        "all",
        folder / "all.bin",
        folder / "tokenizer",
        "tiny",
        SIZE,
        trained,
        0,
        folder / "runs",
        device="cuda",
        log_every=20,
    )


@pytest.fixture(scope="module")
def alone(config):
    return train_run(replace(config, out=config.out / "alone"))


def windows(seed: int = 0) -> torch.Tensor:
    drawn = torch.Generator().manual_seed(seed)
    return torch.randint(0, VOCABULARY, (SIZE.batch, SIZE.context + 1), generator=drawn)


def test_a_run_ends_near_its_twin_on_a_cpu(config, alone):
    """Training is in bfloat16 on a GPU: losses of the same run lie within a hundredth of a nat."""
    twin = train_run(replace(config, device="cpu", out=config.out / "cpu"))
    assert alone.loss == pytest.approx(twin.loss, abs=0.01)


def test_pages_cost_what_they_cost_on_a_cpu():
    """Evaluation is in float32 on both: a page's nats agree to six digits."""
    tokens = np.random.default_rng(0).integers(1, VOCABULARY, 5_000).astype(np.uint16)
    offsets = np.array([0, 1, 64, 65, 500, 501, 5_000])
    costs = [
        page_nats(build_model(SIZE, VOCABULARY, 0, seed=1), tokens, offsets, SIZE.context, 0, at) for at in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(costs[1], costs[0], rtol=1e-6)


def test_the_compiled_loss_has_the_gradients_of_the_plain_one():
    """Of bfloat16 against float32: the directions agree to a thousandth."""
    found = []
    for device in ("cpu", "cuda"):
        steps = Steps(build_model(SIZE, VOCABULARY, 0, seed=1).to(device), SIZE, device)
        steps.gradients(windows().to(device))
        found.append(torch.cat([p.grad.flatten().cpu().double() for p in steps.model.parameters()]))
    assert torch.nn.functional.cosine_similarity(*found, dim=0) > 0.999


def test_a_step_that_is_not_finite_is_left_out_by_the_device():
    plain = Loss.on("cuda")
    steps = Steps(build_model(SIZE, VOCABULARY, 0, seed=1).to("cuda"), SIZE, "cuda")
    steps.step(windows(0).to("cuda"), 1e-3)
    before = [p.clone() for p in steps.model.parameters()]
    steps.loss = lambda *given: plain(*given) * float("inf")
    steps.step(windows(1).to("cuda"), 1e-3)
    assert all(torch.equal(one, two) for one, two in zip(before, steps.model.parameters(), strict=True))
    steps.loss = plain
    steps.step(windows(2).to("cuda"), 1e-3)
    assert not torch.equal(before[0], next(steps.model.parameters()))
    assert [bool(np.isfinite(loss)) for loss, _ in steps.read()] == [True, False, True]


def test_memory_that_is_really_short_halves_the_pieces_and_keeps_the_gradients():
    large = replace(SIZE, width=256, heads=4, feed_forward=768, context=512, batch_tokens=2**16)
    batch = torch.randint(0, VOCABULARY, (large.batch, large.context + 1)).to("cuda")
    steps = Steps(build_model(large, VOCABULARY, 0, seed=1).to("cuda"), large, "cuda")
    roomy = float(steps.gradients(batch))
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    try:
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 2**29) / total)
        assert float(steps.gradients(batch)) == pytest.approx(roomy, abs=1e-3)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert steps.micro < large.batch


def test_two_processes_share_a_gpu(config, alone):
    """Each run ends as it does alone, within what is promised on a GPU."""
    [gpu] = slots("cuda").environments
    runs = [replace(config, out=config.out / name) for name in ("one", "two")]
    for summary in side_by_side.run(TRAIN, runs, Slots([gpu, gpu])):
        assert summary.loss == pytest.approx(alone.loss, abs=1e-3)
