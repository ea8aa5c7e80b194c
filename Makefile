# Every target sets itself up: it needs Linux on x86_64, Python 3.11, pip and git, and installs the rest into this folder.
UV_VERSION := 0.13.9
UV := .tools/uv-$(UV_VERSION)/bin/uv
READY := .venv/.ready
CONFIG ?= pipeline/configs/reference.yaml
ARGS ?=
ON_MYSQL := reference_run gates neighbours

export UV_COMPILE_BYTECODE := 1
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help setup run validate doctor test mysql faults lint audit sbom check format benchmark image lock-check lock clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Create .venv from uv.lock (every other target does it when needed)

run: $(READY) ## Run the pipeline: CONFIG=file.yaml, ARGS="--set trainer.num_epochs=1"
	@.venv/bin/sluice run $(CONFIG) $(ARGS)

validate: $(READY) ## Check a config without running it: CONFIG=file.yaml
	@.venv/bin/sluice validate $(CONFIG) $(ARGS)

doctor: $(READY) ## Check this machine
	@.venv/bin/sluice doctor

test: $(READY) ## Run all tests: ARGS="-m 'not e2e'" for the quick ones
	@.venv/bin/python -m pytest $(ARGS)

faults: $(READY) ## Kill runs at every point and fill the disk: half an hour; ARGS="--faults random" kills at any moment
	@.venv/bin/python -m pytest --faults all $(ARGS) tests/e2e/test_faults.py tests/e2e/test_full_disk.py \
		tests/e2e/test_neighbours.py tests/e2e/test_nightly.py -s

mysql: $(READY) ## Run the tests of local runs with their metadata on a MariaDB server of their own
	@.venv/bin/python -m pytest --metadata mysql $(ARGS) $(addprefix tests/e2e/test_,$(addsuffix .py,$(ON_MYSQL)))

lint: $(READY) lock-check ## Check format, lint, types, imports and the lock
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

audit: $(READY) ## Look the locked packages up in known advisories, online where there is a network
	@.venv/bin/python .ci/audit.py $(UV)

sbom: $(UV) ## List what is installed to run Sluice as CycloneDX in build/sluice.cdx.json
	@mkdir -p build
	@$(UV) export --frozen --no-dev --quiet --format cyclonedx1.5 --output-file build/sluice.cdx.json
	@echo build/sluice.cdx.json

check: lint audit test mysql ## Everything that CI runs

format: $(READY) ## Format the code and fix what ruff can fix
	@.venv/bin/ruff check --fix --quiet .
	@.venv/bin/ruff format .

benchmark: $(READY) ## Time sluice beside a plain stock TFX pipeline
	@.venv/bin/python tests/benchmarks/compare.py $(ARGS)

image: $(READY) ## Execute the steps of the container image in an empty folder: about three minutes, 4 GB
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && chmod 755 "$$folder" && \
		.venv/bin/python kubeflow/rehearse_image.py "$$folder/image"

lock-check: $(UV)
	@$(UV) lock --check --quiet

lock: $(UV) ## Resolve the dependencies again and write uv.lock
	@$(UV) lock --python 3.11

clean: ## Remove .venv, the tools and the caches; keeps output/
	rm -rf .venv .tools build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache *.egg-info

# The first of python3.11, python3 and python that is a Python 3.11; `make run PYTHON=...` names another.
PYTHON = $(shell for python in python3.11 python3 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo "$$python" && break; done)

$(UV):
	@test "$$(uname -sm)" = "Linux x86_64" || { \
		echo "Sluice is locked for Linux on x86_64; this is $$(uname -sm)." >&2; exit 1; }
	@test -n "$(PYTHON)" || { \
		echo "Sluice needs Python 3.11 and found none; if it is not on the PATH: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
		echo "Sluice needs Python 3.11; $(PYTHON) is not." >&2; exit 1; }
	@"$(PYTHON)" -m pip --version >/dev/null 2>&1 || { \
		echo "Sluice needs pip for $(PYTHON), to install uv into this folder." >&2; exit 1; }
	@echo "Installing uv $(UV_VERSION) into .tools ..."
	@rm -rf .tools
	@"$(PYTHON)" -m pip install --quiet --target .tools/uv-$(UV_VERSION) uv==$(UV_VERSION)

$(READY): $(UV) pyproject.toml uv.lock
	@echo "Installing the locked packages into .venv (once, 1 to 3 minutes, about 4 GB) ..."
	@$(UV) sync --frozen --quiet --python "$(or $(PYTHON),3.11)"
	@touch $(READY)
