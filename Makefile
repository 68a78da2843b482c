# `make` prints the targets. Everything runs from a fresh checkout with Rust, Python and Node.

.DEFAULT_GOAL := help
.PHONY: help run build check fmt test test-rust test-clients test-python chart-test image-test python-stops python-matrix \
	python-bench services cluster races protocol chaos rolling-change bench interrupt-bench sql doc clean

help: ## Print this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 18

run: ## Build and start the server on http://127.0.0.1:8123 (state in .runloom/)
	cargo run --release --quiet --bin runloom -- dev

build: ## Build the release binary, target/release/runloom
	cargo build --release --bin runloom

check: ## What must be clean before a commit: format, lints, the tree's own rules
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	cargo test --quiet -p runloom-tests --test tidy

fmt: ## Format the code
	cargo fmt --all

test: ## All tests, from nothing: unit, property, conformance, races, published clients
	scripts/test.sh

test-rust: ## The Rust tests alone, with the servers that they need
	scripts/services.sh run scripts/rust-tests.sh

test-clients: build ## The published Python and JavaScript clients against the release binary
	scripts/client-tests.sh target/release/runloom

test-python: build ## The same clients against graphs in Python, on one machine and on many
	scripts/python-graphs.sh target/release/runloom
	RUNLOOM_BIN=target/release/runloom RUNLOOM_TEST_CONFIG=tests/graphs/served/langgraph.json \
		scripts/cluster.sh target/release/runloom -- scripts/python-graphs.sh

chart-test: build ## The chart, the images and the compose file, without a cluster
	scripts/chart-test.sh target/release/runloom

image-test: ## Both images, built by Buildah and run as pods are: minutes, as root
	scripts/image-test.sh

python-stops: build ## Stop Python agents at seeded instants: make python-stops STOPS=1000, or SEED=7
	RUNLOOM_STOPS=$(or $(STOPS),1000) RUNLOOM_STOP_SEED=$(or $(SEED),1) \
		scripts/python-graphs.sh target/release/runloom --python -n 0 -s -k random_stops

python-matrix: build ## Python graphs with the oldest, an older and the newest LangGraph
	scripts/python-matrix.sh target/release/runloom

python-bench: build ## What a Python graph costs here, beside the same graph in a process of its own
	scripts/python-bench.sh target/release/runloom

cluster: build ## Two gateways and three workers on private servers until Ctrl-C; prints RUNLOOM_URLS
	@scripts/cluster.sh

services: ## Private Postgres and NATS servers until Ctrl-C; prints the variables that tests read
	@scripts/services.sh run

races: ## The races again with more seeds: make races SEEDS=10000, or one: make races SEED=7
	RUNLOOM_SEEDS=$(or $(SEEDS),5000) RUNLOOM_SEED=$(SEED) cargo test --release -p runloom-tests --test races -- --nocapture

protocol: ## The model of the coordination protocol, large: minutes, prints states and depths as a table
	cargo test --release -p runloom-tests --test protocol -- --include-ignored --nocapture --test-threads 1

chaos: build ## Ten minutes of storms: make chaos SECONDS=600, or one: make chaos SEED=7
	RUNLOOM_BIN=$(CURDIR)/target/release/runloom RUNLOOM_CHAOS_SECONDS=$(SECONDS) RUNLOOM_CHAOS_SEED=$(SEED) \
		scripts/services.sh run cargo test --release --quiet -p runloom-tests --test chaos -- \
		--ignored --nocapture --test-threads 1

rolling-change: ## Replace the version before, under load: make rolling-change FROM=v0.1.0, or the commit before
	scripts/rolling-change.sh $(FROM)

bench: build ## Runloom in its shapes, its peers and the floor, side by side: make bench BENCH="--quick --only dev-rust,reference"
	cargo build --release --quiet -p runloom-bench
	scripts/bench.sh $(or $(BENCH),--publish)

interrupt-bench: build ## How fast a run takes the place of another, across two gateways and two workers
	cargo build --release --quiet -p runloom-bench
	scripts/bench.sh --only floor,cluster-rust --scenarios interrupt

sql: ## Refresh the offline query data after a change of SQL
	scripts/sql.sh

doc: ## Build the API documentation of the crates
	cargo doc --workspace --no-deps

clean: ## Remove what tests and builds leave behind
	cargo clean
	rm -rf .venv .runloom tests/clients/js/node_modules
