"""Frozen modules under DDP and FSDP2, two processes on gloo."""

import traceback
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from frozen_models import INPUT, every_scheme, frozen_model, inner_tensors
from torch import nn

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch has no distributed")

RANKS = 2


def _serve(rank, store, jobs, results):
    """Run jobs as one rank until told to stop."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=RANKS,
        timeout=timedelta(seconds=60),
    )
    while (task := jobs.get()) is not None:
        job, scheme = task
        try:
            job(rank, scheme)
            results.put(None)
        except Exception:
            results.put(traceback.format_exc())
    dist.destroy_process_group()


class Ranks:
    """Processes that stay for all tests: importing torch in them takes longer than the tests."""

    def __init__(self, store):
        context = mp.get_context("spawn")
        self.results = context.Queue()
        self.jobs = [context.SimpleQueue() for _ in range(RANKS)]
        self.processes = [
            context.Process(target=_serve, args=(rank, store, jobs, self.results), daemon=True)
            for rank, jobs in enumerate(self.jobs)
        ]
        for process in self.processes:
            process.start()

    def run(self, job, scheme):
        for jobs in self.jobs:
            jobs.put((job, scheme))
        failures = [text for _ in range(RANKS) if (text := self.results.get(timeout=180))]
        assert not failures, "\n".join(failures)

    def stop(self):
        for jobs in self.jobs:
            jobs.put(None)
        for process in self.processes:
            process.join(30)
            process.kill()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    pool = Ranks(tmp_path_factory.mktemp("ranks") / "store")
    yield pool
    pool.stop()


def train_bias(model):
    model[0].bias.requires_grad_(True)
    return model


def ddp_equal(rank, scheme):
    model = train_bias(frozen_model(scheme))
    state = {name: t.clone() for name, t in model.state_dict().items()}
    expected = model(INPUT).detach()
    wrapped = nn.parallel.DistributedDataParallel(model)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor.float(), state[name].float()), name
    output = wrapped(INPUT)
    assert torch.equal(output, expected)
    output.square().mean().backward()
    assert model[0].bias.grad is not None


def ddp_broadcasts(rank, scheme):
    source = frozen_model(scheme)
    model = frozen_model(scheme, seed=9 if rank else 0)
    wrapped = nn.parallel.DistributedDataParallel(model)
    values, wanted = model[0].weight.dequantize(), source[0].weight.dequantize()
    step = {"qint8": 1 / 127, "qfloat8": 1 / 8, "qint4": 1 / 15, "qint2": 1 / 3}[scheme]
    assert (values - wanted).abs().max() <= step * wanted.abs().max()
    assert wrapped(INPUT).shape == (4, 16)


def fsdp(rank, scheme):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (RANKS,))
    model = frozen_model(scheme)
    expected = model(INPUT).detach()
    whole = {name: t.numel() for name, t in inner_tensors(model[0]).items()}
    for layer in (model[0], model[2]):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    for name, tensor in inner_tensors(model[0]).items():
        assert tensor.to_local().numel() * RANKS == whole[name], name
    for _ in range(2):
        x = INPUT.clone().requires_grad_()
        output = model(x)
        torch.testing.assert_close(output, expected)
        output.square().mean().backward()
        assert x.grad is not None
        assert model[0].bias.grad is not None
    assert set(model.state_dict()) == set(frozen_model(scheme).state_dict())
    for name, tensor in inner_tensors(model[0]).items():
        shard = inner_tensors(frozen_model(scheme)[0])[name].chunk(RANKS)[rank]
        assert torch.equal(tensor.to_local().float(), shard.float()), name


def fsdp_mixed(rank, scheme):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh("cpu", (RANKS,))
    model = frozen_model(scheme)
    expected = frozen_model(scheme).bfloat16()(INPUT.bfloat16())
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    output = model(INPUT)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output, expected)


@every_scheme
@pytest.mark.parametrize(
    "job", [ddp_equal, ddp_broadcasts, fsdp, fsdp_mixed], ids=lambda job: job.__name__
)
def test_two_ranks(ranks, scheme, job):
    ranks.run(job, scheme)
