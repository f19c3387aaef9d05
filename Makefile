# Every target makes what it needs: `make demo` or `make test` may be the first command in a fresh clone.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
# `make test-all PYTHON=python3.12` tests with that interpreter, in an environment of its own beside .venv.
ifeq ($(origin PYTHON)+$(MAKECMDGOALS),command line+test-all)
VENV := .venv-$(notdir $(PYTHON))
else
VENV := .venv
endif
BIN := $(VENV)/bin
PEERS := .venv-peers
READY := .venv-ready
EXTENSION := tiering/images/_draw.c tiering/images/_whole.c tiering/store/_leaves.c tiering/system/_files.c \
  tiering/images/build_extension.py
HAS_JPEG := printf '\#include <stdio.h>\n\#include <jpeglib.h>\n' | $${CC:-cc} -E -x c -o /dev/null - 2>/dev/null
# Many tests wait for servers and other processes: half as many workers again as there are processors.
WORKERS ?= $(shell echo $$(( ($$(getconf _NPROCESSORS_ONLN) * 3 + 1) / 2 )))
DATASET ?=
IMAGES ?=
TINY ?=
CIFAR ?=

# Bytecode is kept, whatever the environment says: tests start many interpreters, and each would compile again.
unexport PYTHONDONTWRITEBYTECODE

# Workers and programs share the processors: threads of OpenMP and BLAS would only spin while they wait for each other.
test test-all coverage: export OMP_NUM_THREADS = 1
test test-all coverage: export OPENBLAS_NUM_THREADS = 1

.PHONY: demo test test-all coverage lint bench bench-peers bench-ready docs strace jpeg clean

demo: $(VENV)/.installed strace
	$(BIN)/python benchmarks/demo.py $(DATASET)

test: lint
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not slow" --durations=15

test-all: lint
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

# Branch coverage of the default tests, in all processes that they start. `fail_under` in pyproject.toml holds it. Tests
# that count a process's own writes and reads are left out: coverage writes too.
coverage: $(VENV)/.dev
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not slow" --cov --cov-report=term \
	  --ignore=tests/faults --ignore=tests/trace/test_capture.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# IMAGES and TINY: directories of images in class folders; without IMAGES, photographs are made.
bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.peers --only tiering plain $(if $(IMAGES),--images $(IMAGES))

bench-peers: $(PEERS)/.installed
	$(PEERS)/bin/python -m benchmarks.peers --write docs/benchmarks.md \
	  $(if $(IMAGES),--images $(IMAGES)) $(if $(TINY),--tiny $(TINY))

# CIFAR: the PNGs of its training set in class folders.
bench-ready: $(VENV)/.dev $(READY)/.installed
	$(BIN)/python -m benchmarks.ready --peers $(READY)/bin/python --write docs/benchmarks.md \
	  $(if $(IMAGES),--images $(IMAGES)) $(if $(CIFAR),--cifar $(CIFAR)) $(if $(TINY),--tiny $(TINY))

docs: $(VENV)/.dev
	$(BIN)/mkdocs build --strict

# A Python without ensurepip (Debian splits it off) gets it from the system's packages where that is possible.
$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "tiering needs Python 3.11, 3.12 or 3.13 on PATH." >&2; exit 4; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "tiering needs Python 3.11, 3.12 or 3.13, found $$($(PYTHON) --version)." >&2; exit 4; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { [ $$(id -u) = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -q && apt-get install -y -q python3-venv; } \
	  || { echo "Python lacks ensurepip: install it (Debian: apt install python3-venv)." >&2; exit 4; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml $(EXTENSION) | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e .
	@touch $@

# The demo and the tests record programs.
strace:
	@command -v strace >/dev/null || { [ $$(id -u) = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -q && apt-get install -y -q strace; } \
	  || { echo "Traces are recorded with strace: install it (Debian: apt install strace)." >&2; exit 4; }

# The C extension needs a compiler and libjpeg-turbo's headers. tiering works without it, more slowly.
jpeg:
	@$(HAS_JPEG) || { [ $$(id -u) = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -q && apt-get install -y -q gcc libc6-dev libjpeg-dev; } && $(HAS_JPEG) \
	  || { echo "The tests need a C compiler and libjpeg-turbo (Debian: apt install gcc libc6-dev libjpeg-dev)." >&2; exit 4; }

# The tests move files with rsync and rclone, type into zsh and fish, open reports in Chromium with axe-core, and speak
# to Azurite; npm brings the last two.
$(VENV)/.dev: pyproject.toml $(EXTENSION) | $(VENV)/bin/python strace jpeg
	@command -v rsync >/dev/null && command -v rclone >/dev/null || { [ $$(id -u) = 0 ] \
	  && command -v apt-get >/dev/null && apt-get update -q && apt-get install -y -q rsync rclone; } \
	  || { echo "The tests need rsync and rclone: install them (Debian: apt install rsync rclone)." >&2; exit 4; }
	@command -v zsh >/dev/null && command -v fish >/dev/null || { [ $$(id -u) = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -q && apt-get install -y -q --no-install-recommends zsh fish; } \
	  || { echo "The tests need zsh and fish: install them (Debian: apt install zsh fish)." >&2; exit 4; }
	@command -v chromium >/dev/null || { [ $$(id -u) = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -q && apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core; } \
	  || { echo "The tests need chromium: install it (Debian: apt install chromium)." >&2; exit 4; }
	@command -v npm >/dev/null || { [ $$(id -u) = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -q && apt-get install -y -q --no-install-recommends npm; } \
	  || { echo "The tests need npm: install it (Debian: apt install npm)." >&2; exit 4; }
	npm install --silent --no-save --no-package-lock --prefix $(VENV)/axe axe-core@4.10 \
	  || { echo "The tests need axe-core, which npm could not install." >&2; exit 4; }
	npm install --silent --no-save --no-package-lock --prefix $(VENV)/azurite azurite@3.35 \
	  || { echo "The tests need azurite, which npm could not install." >&2; exit 4; }
	$(BIN)/python -m pip install -q -e '.[dev]'
	@$(BIN)/python -c 'import tiering.images._draw, tiering.images._whole, tiering.store._leaves, tiering.system._files' \
	  || { echo "A C extension was not built. To see why: $(BIN)/python -m tiering.images.build_extension" >&2; exit 4; }
	@touch $@ $(VENV)/.installed

$(PEERS)/.installed: benchmarks/peers/requirements.txt pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install -q -e . -r benchmarks/peers/requirements.txt
	@touch $@

# FFCV has no wheels. It needs OpenCV and TurboJPEG, and asks for packages that it does not use.
$(READY)/.installed: benchmarks/ready_ways/requirements.txt pyproject.toml $(EXTENSION) | $(VENV)/bin/python
	$(VENV)/bin/python -m venv $(READY)
	$(READY)/bin/python -m pip install -q -e . -r benchmarks/ready_ways/requirements.txt
	@pkg-config --exists opencv4 libturbojpeg || { [ $$(id -u) = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -q && apt-get install -y -q --no-install-recommends g++ pkg-config libopencv-dev \
	  libturbojpeg0-dev; } || true
	$(READY)/bin/python -m pip install -q --no-deps ffcv==1.0.2 \
	  || echo "FFCV could not be built: its rows will be missing (Debian: apt install libopencv-dev libturbojpeg0-dev)."
	@touch $@

clean:
	rm -rf .venv .venv-* build dist site demo peers-work .pytest_cache .mypy_cache .ruff_cache
