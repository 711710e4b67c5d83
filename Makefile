# The two commands that matter: `make demo` and `make test`. `make help` lists
# the rest. Everything lands in .venv, build/, dist/ and demo/.

PYTHON ?= python3
# A requirement (torch==2.13.0), a path to a wheel, or `installed`: the torch of
# $(PYTHON) itself.
TORCH ?= torch==2.13.0
MODEL ?= smollm2
PEERS ?= .venv-peers
JOBS ?= $(shell nproc)
RUNS ?= 1000000

VENV := .venv
BIN := $(VENV)/bin
BUILD := build/wheel
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(JOBS)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

ifneq ($(shell command -v ccache),)
export CMAKE_CXX_COMPILER_LAUNCHER ?= ccache
endif

CXX_SOURCES = $(shell git ls-files --cached --others --exclude-standard 'cpp/*.h' 'cpp/*.cc' 'benchmarks/*.cc' 'tests/*.cc' 'examples/*.h' 'examples/*.cc')
TIDY_SOURCES = $(shell git ls-files --cached --others --exclude-standard \
	'cpp/quanto/core/*.cc' 'cpp/quanto/scale/*.cc' 'cpp/quanto/kernels/*.cc' \
	'cpp/quanto/io/*.cc' 'cpp/quanto/formats/*.cc' 'cpp/quanto/cli/*.cc' \
	cpp/quanto/limits/limits.cc | grep -v -e _test.cc -e _bench.cc -e 'kernels/cpu/[^d]' -e kernels/cpu/dequantize)

.PHONY: help demo test build lint tidy format test-cpp test-python test-sdk test-aarch64 bench bench-kernels bench-model bench-cli wheel deb asan fuzz fuzz-minute clean

help:
	@echo "make demo [MODEL=smollm2|tiny|DIR]  quantize a language model: sizes, accuracy, speed"
	@echo "make test                           lint, build, and all C++ and Python tests"
	@echo "make lint | tidy | test-cpp | test-python | test-sdk | test-aarch64   the parts of it"
	@echo "make test-aarch64 [ARGS=--all]      core and kernels for aarch64, emulated: the part in make test, or all cases"
	@echo "make format                         format C++ and Python in place"
	@echo "make bench [ARGS=...]               kernels beside torch and the peers"
	@echo "make bench-kernels [ARGS=...]       kernels beside the limits of the machine, measured in the same run"
	@echo "make bench-model [ARGS=...]         layers and a language model beside torch and the peers"
	@echo "make bench-cli [ARGS=...]           quanto quantize beside a file copy, its parts and the peers"
	@echo "make wheel                          dist/*.whl, tried in a clean environment"
	@echo "make deb                            dist/*.deb: the command and the torch-free library, tried"
	@echo "make fuzz [RUNS=1000000]            the parsers of files under libFuzzer (clang)"
	@echo "make asan                           C++ tests of the torch-free layers under ASan and UBSan"
	@echo "TORCH=requirement|path|installed    which torch to build and run against ($(TORCH))"

demo: $(VENV)/.extras build
	$(BIN)/python -m examples.demo --model $(MODEL)

test: lint tidy test-cpp test-python test-sdk test-aarch64 fuzz-minute

# The virtual environment, with torch and the tools of pyproject.toml's extras.
$(VENV)/.torch:
	$(PYTHON) -m venv $(if $(filter installed,$(TORCH)),--system-site-packages) $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(if $(filter-out installed,$(TORCH)),$(BIN)/python -m pip install -q "$(TORCH)")
	@touch $@

$(VENV)/.extras: pyproject.toml | $(VENV)/.torch
	$(BIN)/python scripts/extras.py demo hf dev | xargs -d '\n' $(BIN)/python -m pip install -q
	@touch $@

# One build serves the wheel, the installed package and the C++ tests.
build: $(VENV)/.extras
	@scripts/system_packages.sh
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip install -q --no-build-isolation --no-deps --force-reinstall \
		-C cmake.define.QUANTO_BUILD_TESTS=ON -C cmake.define.QUANTO_BUILD_BENCHMARKS=ON \
		-C cmake.define.QUANTO_BUILD_NN=ON \
		-C cmake.define.Torch_DIR="$$($(BIN)/python -c 'import torch; print(torch.utils.cmake_prefix_path)')/Torch" .

test-cpp: build
	$(BIN)/ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

test-python: build
	$(BIN)/python -m pytest

# The examples of the C++ SDK, out of the tree, against the installed package.
test-sdk: build
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/consume/sdk.sh $(BUILD)

# What this machine is not: cross-compiled, and run under qemu-user.
test-aarch64: $(VENV)/.extras
	@scripts/system_packages.sh
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/test_aarch64.sh $(ARGS)

lint: $(VENV)/.extras
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(CXX_SOURCES)
	$(BIN)/mypy

# The SDK as one source, as torch's headers take longer than all the rest. The
# check that is left out cannot see that a scheme with weights has a weight.
tidy: build
	$(BIN)/clang-tidy -p $(BUILD) --quiet --warnings-as-errors='*' $(TIDY_SOURCES)
	$(BIN)/clang-tidy -p $(BUILD) --quiet --warnings-as-errors='*' --checks=-bugprone-unchecked-optional-access \
		$(BUILD)/cpp/quanto/nn/CMakeFiles/quanto_nn_tidy.dir/Unity/unity_0_cxx.cxx

format: $(VENV)/.extras
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_SOURCES)

bench: build $(PEERS)/.peers
	$(BIN)/python -m benchmarks.run --peers $(PEERS) $(ARGS)

bench-kernels: build
	$(BIN)/python -m benchmarks.kernels $(ARGS)

bench-model: build $(PEERS)/.peers
	$(BIN)/python -m benchmarks.model --peers $(PEERS) $(ARGS)

bench-cli: build $(PEERS)/.peers
	$(BIN)/python -m benchmarks.cli --peers $(PEERS) $(ARGS)

# optimum-quanto owns the same names as this package: an environment of its own
# for it and the other libraries that are measured.
.venv-peers/.peers: benchmarks/peers.txt
	$(PYTHON) -m venv $(if $(filter installed,$(TORCH)),--system-site-packages) .venv-peers
	.venv-peers/bin/python -m pip install -q --upgrade pip
	.venv-peers/bin/python -m pip install -q $(if $(filter-out installed,$(TORCH)),"$(TORCH)") -r $<
	@touch $@

wheel: $(VENV)/.extras
	@scripts/system_packages.sh
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip wheel -q --no-build-isolation --no-deps -w dist .
	tests/consume/wheel.sh dist/quanto-*.whl "$(TORCH)"

# The command and the torch-free library for Debian, tried from a folder.
deb: $(VENV)/.extras
	@scripts/system_packages.sh
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/consume/deb.sh dist

asan: $(VENV)/.extras
	@scripts/system_packages.sh
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --preset asan-ubsan
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build --preset asan-ubsan
	PATH="$(CURDIR)/$(BIN):$$PATH" ctest --preset asan-ubsan

# Without clang, the corpus alone is run, by test-cpp.
fuzz-minute: build
ifneq ($(shell command -v $(or $(CLANGXX),clang++)),)
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/fuzz/run.sh --seconds 60
else
	@echo "fuzz: skipped, no clang++ (Debian: clang libclang-rt-dev); the corpus was run by ctest"
endif

fuzz: $(VENV)/.extras
	@scripts/system_packages.sh
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/fuzz/run.sh $(RUNS)

clean:
	rm -rf build dist demo
