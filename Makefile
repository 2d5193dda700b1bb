# Two set-up commands: `make up` and `make test`. Each makes ./.venv by itself from python3 (3.11+).
SHELL := /bin/sh
PYTHON ?= python3
GO ?= go
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: reference up test install lint types contracts unit lock clean demo chaos real soak-memory bench bench-parts bench-flames bench-peers simulate fuzz bounds conformance-otel conformance-datasketches planted crashes crashes-real properties

up: install
	@$(BIN)/tidemill up

test: install lint types contracts unit

install: $(STAMP)

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tidemill needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "installing into ./$(VENV) (about 1.4 GB; once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv==0.13.8'
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --no-deps --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q broker metric_registry streams topologies tidemill
	@$(BIN)/tidemill warm
	@touch $(STAMP)

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/pyright

contracts:
	$(BIN)/lint-imports

# docs/definition-reference.md, from the models and the catalogue of checks.
reference:
	$(BIN)/tidemill registry reference > docs/definition-reference.md

# Three at a time on two cores: many tests wait for processes that start, are killed, or go on.
unit:
	$(BIN)/python -m pytest -q -n 3 --dist loadgroup

# The finite proof on real data: every rollup recomputed by an oracle and compared to the bit.
demo: install
	@$(BIN)/python tests/demo/run.py

# The same while every process is killed in turn, with kill -9, at random moments.
chaos: install
	$(BIN)/python tests/chaos/run.py --kills 40

# Random stories through the real processes, which are killed meanwhile, compared to the bit.
real: install
	$(BIN)/python tests/real/run.py --stories 50
	TIDEMILL_STREAM_GAP_S=6 $(BIN)/python tests/real/repartition.py --partitions 2 --then 5
	TIDEMILL_STREAM_GAP_S=6 $(BIN)/python tests/real/repartition.py --partitions 4 --then 2
	TIDEMILL_STREAM_GAP_S=6 $(BIN)/python tests/real/repartition.py --partitions 3 --then 3 --by rack
	$(BIN)/python tests/real/definitions.py

# CPU nanoseconds a point and points a second, each stage beside its ceiling; medians and ranges.
bench: install
	$(BIN)/python tests/benchmarks/bench_pipeline.py

# The same once, with a flame graph of a worker for each profile in ./flames.
bench-flames: install
	$(BIN)/uv pip install --quiet --python $(BIN)/python --target $(HOME)/.cache/tidemill-flames 'py-spy==0.4.3'
	PATH=$(HOME)/.cache/tidemill-flames/bin:$$PATH $(BIN)/python tests/benchmarks/bench_pipeline.py --runs 1 --flames flames

bench-parts: install
	$(BIN)/python tests/benchmarks/bench_encodings.py
	$(BIN)/python tests/benchmarks/bench_aggregates.py
	$(BIN)/python tests/benchmarks/bench_sketches.py
	$(BIN)/python tests/benchmarks/bench_sketches.py --errors
	$(BIN)/python tests/benchmarks/bench_broker.py
	$(BIN)/python tests/benchmarks/bench_compaction.py
	$(BIN)/python tests/benchmarks/bench_store.py
	$(BIN)/python tests/benchmarks/bench_otlp_check.py
	$(BIN)/python tests/benchmarks/bench_dsl.py
	$(BIN)/python tests/benchmarks/bench_guarantee.py
	$(BIN)/python tests/benchmarks/bench_temporality.py
	$(BIN)/python tests/benchmarks/bench_late.py
	$(BIN)/python tests/benchmarks/bench_restore.py
	$(BIN)/python tests/benchmarks/bench_registry.py
	$(BIN)/python tests/benchmarks/bench_planner.py

# 100,000 seeded schedules of crashes over a log in memory: at every point of the commit protocol.
crashes: install
	$(BIN)/python tests/crash/schedules.py --schedules 100000

# Kafka Streams, Flink and others at the same job, each installed into ~/.cache/tidemill-peers.
bench-peers: install
	$(BIN)/python tests/benchmarks/peers/run.py --peers '$(PEERS)' --out bench-peers.json

# 60 real faults on two worker processes and a broker process, while orders come in; then both
# workers are replaced by another version of their topology.
crashes-real: install
	$(BIN)/python tests/crash/run.py --faults 60
	$(BIN)/python tests/crash/upgrade.py

# A day of event time through a task of each kind, while series come and go: memory stays flat.
soak-memory: install
	$(BIN)/python tests/soak/memory.py

# Every property ten times on examples that nobody has tried; `make test` tries the same each time.
properties: install
	for each in 1 2 3 4 5 6 7 8 9 10; do \
	  HYPOTHESIS_PROFILE=search $(BIN)/python -m pytest -q -n 2 --timeout 3600 \
	    $$(grep -rl --include='test_*.py' 'hypothesis import' tests) || exit 1; \
	done

# Longer work, with the same rigour, run by hand.
simulate: install crashes properties
	TIDEMILL_ASSIGNMENTS=3000 $(BIN)/python -m pytest -q --timeout 3600 tests/property/test_assignment.py
	TIDEMILL_HISTORIES=4000 $(BIN)/python -m pytest -q --timeout 3600 -k history tests/simulation/test_group_simulation.py tests/simulation/test_transaction_simulation.py
	TIDEMILL_HISTORIES=20000 $(BIN)/python -m pytest -q --timeout 3600 -k history tests/simulation/test_log_compaction.py
	TIDEMILL_SINK_SEEDS=6000 $(BIN)/python -m pytest -q --timeout 3600 tests/unit/sink
	TIDEMILL_STORIES=10000 $(BIN)/python -m pytest -q --timeout 3600 tests/simulation/test_topology_against_oracle.py
	TIDEMILL_DSL_STORIES=3000 $(BIN)/python -m pytest -q -n 2 --timeout 3600 tests/simulation/test_dsl_windows.py tests/simulation/test_dsl_tables.py
	TIDEMILL_EXPRESSIONS=20000 $(BIN)/python -m pytest -q --timeout 3600 tests/property/test_expressions.py
	TIDEMILL_TEMPORALITY_STORIES=20000 $(BIN)/python -m pytest -q --timeout 3600 tests/unit/temporality
	TIDEMILL_EPOCHS=3000 $(BIN)/python -m pytest -q -n 2 --timeout 3600 tests/simulation/test_topic_epochs.py
	TIDEMILL_FORGETTING=1000 $(BIN)/python -m pytest -q -n 2 --timeout 3600 tests/simulation/test_forgotten_streams.py
	TIDEMILL_ORDERS=20 $(BIN)/python -m pytest -q --timeout 3600 tests/simulation/test_same_points_any_way.py
	TIDEMILL_AGGREGATE_VALUES=10000000 TIDEMILL_AGGREGATE_SEEDS=100 $(BIN)/python -m pytest -q -s --timeout 3600 tests/unit/streams_aggregates

# Distinct counts against Apache DataSketches, which is installed beside the environment.
conformance-datasketches: install
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --target /tmp/tidemill-datasketches 'datasketches==5.2.0'
	PYTHONPATH=/tmp/tidemill-datasketches:. $(BIN)/python tests/conformance/check_datasketches.py

# Every planted fault, and the test that catches it.
planted: install
	$(BIN)/python tests/planted/run.py

# 10^6 damaged messages through every decoder, each held against a reference that shares no code.
fuzz: install
	$(BIN)/python tests/fuzz/run.py --mutations 1000000

# All tests that run kernels, with every array index checked.
bounds: install
	$(BIN)/python tests/bounds/run.py

# What the OpenTelemetry Collector's own processors emit, held against tidemill check-otlp.
conformance-otel: install
	@command -v $(GO) >/dev/null || \
	  { echo "needs Go 1.26 or newer to build two processors of the OpenTelemetry Collector, and their modules (about 300 MB, once). Try: make GO=/usr/local/go/bin/go conformance-otel"; exit 1; }
	cd tests/conformance/otel_collector && $(GO) build -o $(CURDIR)/$(BIN)/otel-processors .
	$(BIN)/python -m pytest -q tests/conformance/otel_collector/collector_processors.py

lock:
	$(BIN)/uv pip compile --quiet pyproject.toml --extra embedded --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate -o requirements.lock

clean:
	rm -rf $(VENV) .tidemill
