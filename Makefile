# Every target sets up what it needs, then does one thing. Only Python 3.11+, git and make have to be there.
#   make lab      open the lessons in JupyterLab         make test     run the tests, each lesson once
#   make paint    write out.png                          make lint     check the style of the code
#   make lessons  run every notebook again, in place     make train    train the tiny model again (ARGS="--minutes 60")
#   make bench    measure against diffusers' pipeline    make images   draw the README's pictures again
#   make bench-NAME   run bench/NAME.py                make kit      make a folder that installs without network
#   make book     make build/book, the lessons as a web site, with the live page
#   make live     make build/book/live alone, the machine alive in a web page
#   make slides   make build/slides, the lessons' questions and figures for a wall
#   make hub      a room on one server, tried on this machine alone: JupyterHub on loopback
#   make fast     add OpenVINO, which runs a big model faster on a CPU
#   make fuzz     the properties with 75 times as many inputs, others each time; how many is told
#   make faults   kill each command at every change of the disk, fill the disk, and give it again
#   make audit    known advisories and licences of the dependencies; says what it could not look up
#   make order    the lessons' cells in random orders
#   make test-all   the tests, every lesson on every model and in every dtype, and the tests without vector units
#   make badges   write links to Binder and Colab (REPOSITORY=owner/name)

ifndef PYTHON
PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
endif
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
TEST   := $(VENV)/.test
BOOK   := $(VENV)/.book
HUB    := $(VENV)/.hub
HALF   := $(VENV)/.half-made
WORKERS ?= 2
PROMPT ?= a photograph of an astronaut riding a horse

# What the user gives reaches the programs through the environment, letter by letter: neither make nor the shell reads it.
GIVEN := PYTHON WORKERS PROMPT REPOSITORY ARGS LAB_ARGS
$(foreach name,$(GIVEN),$(eval override $(name) := $$(value $(name))))
export $(GIVEN)
CALL := $(BIN)/python tools/call.py

# Threads that wait for each other without spinning: on a machine that does anything else, spinning costs minutes.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: lab test test-all fuzz faults audit order paint lint lessons train bench images kit book live slides hub fast badges clean moved
.DELETE_ON_ERROR:

lab: $(READY)
	ARGS="$$LAB_ARGS" $(CALL) -m sdlesson lab

test: $(TEST)
	$(CALL) -m pytest -n "$$WORKERS"

fuzz: $(TEST)
	SDLESSON_FUZZ=75 $(CALL) -m pytest -q -s tests/test_properties.py

faults: $(TEST)
	SDLESSON_FAULTS=1 $(CALL) -m pytest -q -s -m full tests/test_faults.py

audit: $(READY)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[audit]"
	$(BIN)/python tools/audit.py

order: $(TEST)
	SDLESSON_ORDER=1 $(CALL) -m pytest -q -s -m full tests/test_order.py

test-all: $(TEST)
	$(CALL) -m pytest -n "$$WORKERS" -m "full or not full"
	for units in avx2 default; do \
		ATEN_CPU_CAPABILITY=$$units ONEDNN_MAX_CPU_ISA=AVX2 $(CALL) -m pytest -n "$$WORKERS" \
			--ignore=tests/test_openvino.py --ignore=notebooks/12_full_size.ipynb || exit 1; \
	done # OpenVINO may not run in a process that is limited so

paint: $(READY)
	$(CALL) -m sdlesson paint -- "$$PROMPT"

lint: $(TEST)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m basedpyright --level error

lessons: $(READY)
	$(CALL) tools/run_lessons.py

train: $(READY)
	$(CALL) -m sdlesson.tiny

bench: $(READY)
	$(CALL) bench/against_pipeline.py

bench-sweep: $(TEST)
	$(CALL) bench/sweep.py

bench-hub: $(HUB)
	$(CALL) bench/hub.py

bench-live bench-explorers: $(TEST)
	$(CALL) 'bench/$(@:bench-%=%).py'

bench-%: $(READY)
	$(CALL) 'bench/$*.py'

images: $(READY)
	$(BIN)/python tools/draw_images.py

kit: $(READY)
	$(CALL) tools/make_kit.py

book: $(BOOK)
	$(BIN)/python tools/build_book.py

live: $(BOOK)
	$(BIN)/python tools/build_live.py

slides: $(READY)
	$(CALL) tools/make_slides.py

hub: $(HUB)
	$(BIN)/python classroom/trial.py

fast: $(READY)
	$(BIN)/python -m pip install -c constraints.txt -e ".[fast]"

badges: $(READY)
	$(BIN)/python tools/write_badges.py "$$REPOSITORY"

clean:
	rm -rf $(VENV)

# The environment. $(READY) is written last and holds the folder that it was made for: when the lists of dependencies
# change or the checkout moves, it is brought up to date. A first set-up that was interrupted left $(HALF): begin again.
ifneq ($(shell $(BIN)/python -c "" 2>/dev/null && cat $(READY) 2>/dev/null),$(CURDIR))
$(READY): moved
endif

$(READY): pyproject.toml constraints.txt
	@test -n "$$PYTHON" || { echo "sdlesson needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null 2>&1 || true
	@if test -e $(HALF) || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		echo "making $(VENV)"; rm -rf $(VENV); mkdir $(VENV); touch $(HALF); "$$PYTHON" -m venv $(VENV); \
	fi
	@echo "installing what the lessons need, once: 0.4 GB and some 5 minutes; far more on Linux with PyTorch's build for NVIDIA GPUs"
	$(BIN)/python -m pip install -c constraints.txt -e .
	$(BIN)/python -m ipykernel install --sys-prefix --env OMP_WAIT_POLICY PASSIVE
	@pwd -P > $@
	@rm -f $(HALF)

$(TEST): $(READY)
	$(BIN)/python -m pip install -c constraints.txt -e ".[test]"
	@touch $@

$(BOOK): $(READY)
	$(BIN)/python -m pip install -c constraints.txt -e ".[book,live]"
	@touch $@

$(HUB): $(READY) classroom/package-lock.json
	$(BIN)/python -m pip install -c constraints.txt -e ".[hub]"
	$(BIN)/python classroom/trial.py --ready
	@touch $@
