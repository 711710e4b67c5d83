"""The ways in which transformers and diffusers reach a quantized module."""

import subprocess
import sys

import pytest
import torch
from frozen_models import every_scheme
from torch import nn

import quanto
from quanto import QLinear, QModuleMixin, qtypes


@every_scheme
def test_the_steps_of_transformers_quantizer(scheme):
    with torch.device("meta"):
        layer = QLinear(
            in_features=64,
            out_features=32,
            bias=True,
            dtype=torch.bfloat16,
            weights=qtypes[scheme],
            activations=None,
        )
    assert isinstance(layer, QModuleMixin)
    assert not layer.frozen
    assert list(layer.state_dict()) == ["weight", "bias", "input_scale", "output_scale"]
    layer.weight = nn.Parameter(torch.randn(32, 64, dtype=torch.bfloat16))
    layer.bias = nn.Parameter(torch.zeros(32, dtype=torch.bfloat16))
    layer.input_scale = torch.ones(layer.input_scale.shape)
    layer.output_scale = torch.ones(layer.output_scale.shape)
    layer.freeze()
    layer.weight.requires_grad = False
    layer.weight._is_hf_initialized = True
    assert layer.frozen
    assert layer(torch.randn(2, 64, dtype=torch.bfloat16)).dtype == torch.bfloat16


@every_scheme
def test_the_steps_of_diffusers_quantizer(scheme):
    source = QLinear(64, 32, weights=scheme)
    source.freeze()
    with torch.device("meta"):
        layer = QLinear(in_features=64, out_features=32, bias=True, weights=qtypes[scheme])
    layer.requires_grad_(False)
    quanto.freeze(nn.Sequential(layer))
    for name, tensor in source.state_dict().items():
        owner = layer
        *path, leaf = name.split(".")
        for part in path:
            owner = getattr(owner, part)
        value = nn.Parameter(tensor) if name == "bias" else tensor
        setattr(owner, leaf, value)
    x = torch.randn(2, 64)
    assert torch.equal(layer(x), source(x))
    assert layer.weight.device.type == "cpu"


def tiny_config(**options):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    return transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        **options,
    )


@every_scheme
def test_a_language_model_end_to_end(scheme):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(tiny_config(tie_word_embeddings=True)).eval()
    ids = torch.arange(8)[None]
    with pytest.warns(UserWarning, match=r"lm_head \(with model.embed_tokens.weight\)"):
        quanto.quantize(model, weights=scheme)
    quanto.freeze(model)
    with torch.no_grad():
        logits = model(ids).logits
        model.tie_weights()
        assert torch.equal(model(ids).logits, logits)
        assert model.generate(ids, max_new_tokens=3, do_sample=False).shape == (1, 11)
    assert type(model.lm_head) is nn.Linear
    assert model.model.layers[0].self_attn.q_proj.frozen


def in_a_fresh_process(program: str) -> str:
    setup = f"import sys; sys.path[:0] = {sys.path!r}\n"
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", setup + program],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


SHOW = """
for auto in autos:
    print(auto.AUTO_QUANTIZER_MAPPING["quanto"].__module__)
    print(auto.AUTO_QUANTIZATION_CONFIG_MAPPING["quanto"].__module__)
"""
IMPORT = """
import transformers.quantizers.auto as ours, diffusers.quantizers.auto as theirs
autos = (ours, theirs)
"""


@pytest.fixture
def libraries():
    for library in ("transformers", "diffusers"):
        pytest.importorskip(library, reason=f"{library} is not installed")


def registered():
    names = ("transformers", "diffusers")
    return [f"quanto.integrations.{name}" for name in names for _ in range(2)]


def test_importing_quanto_imports_neither_library_and_registers_with_both_later(libraries):
    program = """
import quanto, optimum.quanto
assert not {"transformers", "diffusers", "accelerate"} & set(sys.modules)
"""
    assert in_a_fresh_process(program + IMPORT + SHOW).split() == registered()


def test_registers_at_once_with_libraries_that_are_imported(libraries):
    assert in_a_fresh_process(IMPORT + "import optimum.quanto" + SHOW).split() == registered()


def test_entries_that_are_not_the_stock_ones_are_left_alone(libraries):
    program = """
class Other: pass
for auto in autos:
    auto.AUTO_QUANTIZER_MAPPING["quanto"] = Other
import quanto
"""
    modules = in_a_fresh_process(IMPORT + program + SHOW).split()
    assert modules[::2] == ["__main__"] * 2
    assert not any(module.startswith("quanto") for module in modules)


def test_threads_that_import_at_the_same_time_see_our_entries():
    pytest.importorskip("transformers", reason="transformers is not installed")
    program = """
import threading
found = []
def look():
    import transformers.quantizers.auto as auto
    found.append(auto.AUTO_QUANTIZER_MAPPING["quanto"].__module__)
threads = [threading.Thread(target=look) for _ in range(4)]
for thread in threads[:2]: thread.start()
import quanto
for thread in threads[2:]: thread.start()
for thread in threads: thread.join()
import transformers.quantizers.auto as auto
print(found[2:], auto.AUTO_QUANTIZER_MAPPING["quanto"].__module__)
"""
    ours = "quanto.integrations.transformers"
    assert in_a_fresh_process(program) == f"{[ours, ours]} {ours}"


def test_a_release_that_is_not_known_is_a_warning_and_not_an_error(tmp_path):
    package = tmp_path / "diffusers" / "quantizers"
    package.mkdir(parents=True)
    (tmp_path / "diffusers" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "auto.py").write_text("AUTO_QUANTIZER_MAPPING = {}\n")
    program = f"""
sys.path.insert(0, {str(tmp_path)!r})
import warnings, quanto
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import diffusers.quantizers.auto
print(*(w.message for w in caught))
"""
    assert "expected to register with diffusers, got ModuleNotFoundError" in in_a_fresh_process(
        program
    )


def test_the_checks_for_the_predecessor_pass():
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    assert transformers.utils.is_optimum_quanto_available()
    assert transformers.utils.import_utils.is_quanto_greater("0.2.5", accept_dev=True)


def test_without_the_import_checkpoints_of_ours_are_refused_once(libraries, tmp_path):
    """The stock quantizers import optimum.quanto while they are at work; then ours are in place."""
    from hf_models import llama, pixart

    for name, model in (("llama", llama()), ("pixart", pixart())):
        quanto.quantize(model, weights="int4")
        quanto.freeze(model)
        quanto.save_pretrained(model, tmp_path / name)
    program = f"""
import transformers, diffusers
assert "quanto" not in sys.modules
for cls, name in (
    (diffusers.PixArtTransformer2DModel, "pixart"), (transformers.LlamaForCausalLM, "llama")
):
    if name == "llama":  # as if this were a process of its own
        from transformers.quantizers import auto, quantizer_quanto
        from transformers.utils import quantization_config
        auto.AUTO_QUANTIZER_MAPPING["quanto"] = quantizer_quanto.QuantoHfQuantizer
        auto.AUTO_QUANTIZATION_CONFIG_MAPPING["quanto"] = quantization_config.QuantoConfig
    try:
        cls.from_pretrained({str(tmp_path)!r} + "/" + name)
    except ValueError as error:
        print("expected `import quanto` before" in str(error))
model = diffusers.PixArtTransformer2DModel.from_pretrained({str(tmp_path / "pixart")!r})
print(type(model.proj_out).__name__)
"""
    assert in_a_fresh_process(program).split() == ["True", "True", "QLinear"]
