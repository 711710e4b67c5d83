"""Frozen modules under accelerate: offload, dispatch, loading into an empty model."""

import pytest
import torch
from frozen_models import INPUT, every_scheme, float_model, frozen_model
from safetensors.torch import save_file

import quanto
from quanto import QTensor

accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")


def devices(module):
    return {name: t.device.type for name, t in module.state_dict().items()}


@every_scheme
@pytest.mark.parametrize("buffers", [False, True], ids=["weights", "buffers"])
def test_cpu_offload(scheme, buffers):
    model = frozen_model(scheme)
    expected = model(INPUT).detach()
    accelerate.cpu_offload(model, execution_device="cpu", offload_buffers=buffers)
    assert model[0].weight.device.type == "meta"
    where = devices(model[0])
    assert {name for name, device in where.items() if device != "meta"} == (
        set() if buffers else {"input_scale", "output_scale"}
    )
    with torch.no_grad():
        assert torch.equal(model(INPUT), expected)
        assert torch.equal(model(INPUT), expected)


@every_scheme
@pytest.mark.parametrize("buffers", [False, True], ids=["weights", "buffers"])
def test_disk_offload(scheme, buffers, tmp_path):
    model = frozen_model(scheme)
    expected = model(INPUT).detach()
    accelerate.disk_offload(model, tmp_path, execution_device="cpu", offload_buffers=buffers)
    assert model[0].weight.device.type == "meta"
    with torch.no_grad():
        assert torch.equal(model(INPUT), expected)


@every_scheme
def test_dispatch_with_a_module_on_disk(scheme, tmp_path):
    model = frozen_model(scheme)
    expected = model(INPUT).detach()
    places = {"0": "cpu", "1": "cpu", "2": "disk"}
    model = accelerate.dispatch_model(model, places, main_device="cpu", offload_dir=tmp_path)
    assert model[2].weight.device.type == "meta"
    with torch.no_grad():
        assert torch.equal(model(INPUT), expected)


@every_scheme
def test_empty_model_filled_tensor_by_tensor(scheme):
    source = frozen_model(scheme)
    with accelerate.init_empty_weights():
        model = frozen_model(scheme)
    assert model[0].weight.is_meta
    for name, tensor in source.state_dict().items():
        accelerate.utils.set_module_tensor_to_device(model, name, "cpu", value=tensor)
    assert torch.equal(model(INPUT), source(INPUT))


@every_scheme
def test_empty_model_filled_by_parameters(scheme):
    source = frozen_model(scheme)
    with accelerate.init_empty_weights():
        model = frozen_model(scheme)
    for name, tensor in [*source.named_parameters(), *source.named_buffers()]:
        value = tensor if isinstance(tensor, QTensor) else tensor.data
        accelerate.utils.set_module_tensor_to_device(model, name, "cpu", value=value)
    assert torch.equal(model(INPUT), source(INPUT))


@every_scheme
def test_checkpoint_loaded_into_an_empty_model(scheme, tmp_path):
    source = frozen_model(scheme)
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    model = frozen_model(scheme, seed=3).to("meta")
    accelerate.load_checkpoint_in_model(model, tmp_path, device_map={"": "cpu"})
    assert torch.equal(model(INPUT), source(INPUT))


@every_scheme
def test_sizes_are_of_the_codes(scheme):
    frozen = accelerate.utils.compute_module_sizes(frozen_model(scheme)[0])[""]
    state = quanto.tensor.qtensor.plain_tensors(frozen_model(scheme)[0].weight)
    rest = 64 * 4 + 2 * 4  # bias and the two scales
    assert frozen == sum(t.numel() * t.element_size() for t in state) + rest
    assert frozen < accelerate.utils.compute_module_sizes(float_model()[0])[""]
