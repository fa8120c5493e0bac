# `make demo` and `make test` do all the set-up on their first run and none on their second.
PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip install -q --disable-pip-version-check
MIN    := $(shell sed -n 's/^min_python *= *//p' settings.ini)
comma  := ,
export PYTHONUNBUFFERED = 1

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "  make demo PYTHON=python3.12         with another Python (>= $(MIN))"
	@echo "  make demo PIP_EXTRA_INDEX_URL=...   a far smaller download, for Linux without a GPU:"
	@echo "                                      the address that pytorch.org/get-started names"

demo: $(VENV)/.run ## cross-entropy and SGN on digits, 40 % of the labels wrong (ARGS for sgn_demo)
	@$(PY) $(VENV)/bin/sgn_demo $(ARGS)

EXTRAS := $(addprefix $(VENV)/.,$(filter integrations,$(FLAGS)))
test: $(VENV)/.dev $(EXTRAS) ## all notebooks and tests/ (for more, FLAGS="slow gpu data integrations")
	@$(PY) tools/test_all.py $(if $(FLAGS),--flags $(FLAGS))

lab: $(VENV)/.dev ## the notebooks in JupyterLab
	@$(PY) -m jupyterlab nbs $(ARGS)

readme: $(VENV)/.dev ## README.md, changelog page, sidebar, pyproject.toml, nbdev.yml, Colab badges: what is made
	@$(PY) tools/make_pyproject.py
	@$(PY) tools/make_changelog.py
	@$(PY) tools/make_sidebar.py
	@$(PY) tools/make_colab.py
	@$(PY) tools/make_readme.py
	@$(PY) -c 'from nbdev.quarto import refresh_quarto_yml; refresh_quarto_yml()'

tables: $(VENV)/.run ## tables/ from the committed records, byte for byte; their runs, a row each
	@for n in 1 4; do for f in md html tex csv; do \
	  $(PY) $(VENV)/bin/sgn_table $$n --records records/digits_constant.jsonl --format $$f \
	    --out tables/digits_table$$n.$$f >/dev/null; done; done
	@$(PY) -c 'from sgn_nb.results.runs import write_csv; write_csv("records", "tables")'

verify-records: $(VENV)/.run ## are all records what they say? (ARGS for files or folders besides)
	@$(PY) tools/verify_records.py $(ARGS)

bench: $(VENV)/.run ## records/speed/ on this machine, which should be idle (ARGS for sgn_bench)
	@$(PY) $(VENV)/bin/sgn_bench --device cpu --out records/speed/bench_cpu.json $(ARGS)
	@$(PY) $(VENV)/bin/sgn_bench --device cpu --precision fp32 --methods ce,sgn --rounds 2 \
	  --out records/speed/bench_cpu_fp32.json $(ARGS)
	@$(PY) tools/overhead.py

gpu: $(VENV)/.run ## is all well on this machine's GPU, and how fast is it? records/speed/, 10 minutes
	@$(PY) tools/gpu_check.py $(ARGS); checked=$$?; \
	  $(PY) tools/gpu_speed.py $(ARGS) && exit $$checked

docs: $(VENV)/.docs ## the site in _docs/ (needs libjs-katex, and Python >= 3.11)
	@$(PY) tools/make_docs.py

docs-test: $(VENV)/.docs ## every page of _docs/ in a real browser (needs chromium)
	@$(PY) tools/check_docs.py $(ARGS)

clean: ## remove what was built, and the virtual environment
	rm -rf $(VENV) build dist *.egg-info _docs _proc

# A stamp says where the project stood when it was installed; a folder that was moved is installed again.
MOVED := $(if $(filter $(CURDIR),$(shell cat $(VENV)/.run 2>/dev/null)),,moved)

$(VENV)/.run: settings.ini setup.py pyproject.toml $(VENV)/pyvenv.cfg $(MOVED)
	@echo "installing sgn_nb and PyTorch into $(VENV) (one time, some minutes) ..."
	@$(PIP) -e .
	@echo "$(CURDIR)" > $@

$(VENV)/.dev: settings.ini setup.py pyproject.toml $(VENV)/pyvenv.cfg $(MOVED)
	@echo "installing sgn_nb, PyTorch and what the tests need into $(VENV) (one time, some minutes) ..."
	@$(PIP) -e ".[dev]"
	@echo "$(CURDIR)" | tee $(VENV)/.run > $@

# What the flag of this name needs besides: an extra of the same name.
$(VENV)/.integrations: $(VENV)/.dev
	@echo "installing other people's frameworks into $(VENV) (one time, some minutes) ..."
	@$(PIP) -e ".[dev,integrations]"
	@echo "$(CURDIR)" > $@

$(VENV)/.docs: settings.ini setup.py pyproject.toml $(VENV)/pyvenv.cfg $(MOVED)
	@echo "installing sgn_nb, PyTorch and what the tests and the site need into $(VENV) (one time, some minutes) ..."
	@$(PIP) -e ".[dev,docs]"
	@echo "$(CURDIR)" | tee $(VENV)/.run $(VENV)/.dev > $@

# pip before 22.3 cannot install this project editable; a newer one is left as it is.
$(VENV)/pyvenv.cfg:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: sgn_nb needs Python $(MIN) or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < ($(subst .,$(comma),$(MIN))))' 2>/dev/null || { \
	  echo "sgn_nb needs Python $(MIN) or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1)"; \
	  echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; } >&2
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -f $@; \
	  echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(PIP) 'pip>=22.3'

.PHONY: help demo test lab readme tables verify-records bench gpu docs docs-test clean moved
