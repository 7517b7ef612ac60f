# Every target runs from a fresh clone with cargo, a C and C++ compiler, Python 3 and pip; beside these, test-browser and
# k8s-verify want Node 20 or newer with npm, images Docker, and some a network the first time.
PYTHON ?= python3
CARGO ?= cargo
# nextest where it is installed: it runs test files side by side.
TEST := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo "nextest run" || echo "test")
# Where pip puts programs that are not Rust's: plain folders, ignored by git, no venv needed.
VERIFY := .venv/verify
BENCH := .venv/bench
README := .venv/readme
K8S := .venv/k8s
EXAMPLE := .venv/example
CLUSTER := .venv/cluster
# Of `make images`.
PROVIDER ?= cpu
# Tests in Python: of unittest alone, and of debug builds.
PYTHON_TEST = GRPC_VERBOSITY=NONE PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$(CURDIR)/$(EXAMPLE):$(CURDIR)/$(CLUSTER):$(CURDIR)/tests $(PYTHON)

.PHONY: help setup demo eval-demo test test-browser test-readme test-python test-mesh soak verify k8s-verify images fix bench settings proto release-protos

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

setup: ## bring ONNX Runtime into .runtime/
	@$(PYTHON) tools/setup_runtime.py

demo: setup ## build, and make the demo model's clips, with and without adapters, side by side
	$(CARGO) build --release --locked --package cogwheel --bins --example demo
	target/release/examples/demo demo out

eval-demo: setup ## measure how well the demo model does what prompts and adapters say
	$(CARGO) build --release --locked --package cogwheel-tests --example evaluate_demo
	target/release/examples/evaluate_demo

test: setup ## run every test in Rust
	$(CARGO) $(TEST) --locked --workspace

test-browser: setup ## drive the page of `cogwheel serve` in headless Chromium; installs it where it may
	@$(PYTHON) tools/setup_browser.py
	$(CARGO) build --locked --package cogwheel
	cd tests/browser && COGWHEEL=$(abspath $(or $(CARGO_TARGET_DIR),target))/debug/cogwheel node --test

test-readme: setup $(README)/.ready ## run the README's commands, but for those that need a network, GPU or cluster
	$(PYTHON) tests/readme/run.py

test-python: setup $(EXAMPLE)/.ready $(CLUSTER)/.ready ## run the client in examples/python against a server
	$(CARGO) build --locked --package cogwheel
	$(PYTHON_TEST) -m unittest discover --start-directory tests/python

test-mesh: setup $(EXAMPLE)/.ready $(CLUSTER)/.ready ## run the services in a mesh of Envoys, two replicas of denoiser and vae
	$(CARGO) build --locked --workspace --bins
	$(PYTHON_TEST) -m unittest discover --start-directory tests/mesh --top-level-directory tests

SOAK_SECONDS ?= 120
soak: setup $(EXAMPLE)/.ready $(CLUSTER)/.ready ## two minutes of 40 clients, while every process is restarted; SOAK_SECONDS=20 for a short form
	$(CARGO) build --locked --workspace --bins
	$(PYTHON_TEST) -m unittest discover --start-directory tests/soak --top-level-directory tests
	$(PYTHON_TEST) -m soak.soak --seconds $(SOAK_SECONDS)

verify: $(VERIFY)/.ready ## formatting, lints, docs, dependencies and protos; changes nothing. The manifests: k8s-verify
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --locked --workspace --no-deps --quiet
	$(VERIFY)/bin/cargo-deny --log-level error --locked check bans licenses sources
	$(VERIFY)/bin/cargo-shear
	cd protos && ../$(VERIFY)/bin/buf lint && ../$(VERIFY)/bin/buf breaking --against released.binpb

k8s-verify: $(K8S)/.ready tools/k8s/node_modules/.package-lock.json ## render the manifests of k8s/ and check them; asks no cluster
	PYTHONPATH=$(K8S):tools/k8s $(PYTHON) -m unittest discover --start-directory tools/k8s
	PYTHONPATH=$(K8S):tools/k8s $(PYTHON) tools/k8s/verify.py

images: ## build an image of each service and of the command line by Docker; PROVIDER=cuda: those for GPUs
	@set -e; for target in text-encoder denoiser vae orchestrator cogwheel; do \
	    name=cogwheel-$$target; [ $$target = cogwheel ] && name=cogwheel; \
	    docker build --target $$target --build-arg PROVIDER=$(PROVIDER) --tag $$name$(if $(filter cuda,$(PROVIDER)),-cuda) .; \
	done

fix: ## format and apply the lints' suggestions
	$(CARGO) fmt --all
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged

bench: setup $(BENCH)/.ready ## measure beside diffusers on the same weights, both in one run
	$(CARGO) build --release --locked --workspace --bins --examples
	PYTHONPATH=$(BENCH) $(PYTHON) tools/bench/main.py

settings: ## write the tables of settings and metrics
	COGWHEEL_WRITE_GENERATED=1 $(CARGO) test --locked --quiet --package cogwheel --test settings --test metrics

proto: ## generate the gRPC code from protos/
	COGWHEEL_WRITE_GENERATED=1 $(CARGO) test --locked --quiet --package cogwheel-protos

release-protos: $(VERIFY)/.ready ## let `make verify` hold clients' code to protos/ as it is now
	cd protos && ../$(VERIFY)/bin/buf build --exclude-source-info --output released.binpb

$(VERIFY)/.ready: tools/verify/requirements.txt
$(BENCH)/.ready: tools/bench/requirements.txt
$(README)/.ready: tools/readme/requirements.txt
$(K8S)/.ready: tools/k8s/requirements.txt
$(CLUSTER)/.ready: tools/cluster/requirements.txt
$(EXAMPLE)/.ready: examples/python/requirements.txt
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --upgrade --require-hashes --target $(EXAMPLE) -r $<
	@touch $@
.venv/%/.ready: tools/%/requirements.txt
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --upgrade --target .venv/$* -r $<
	@touch $@

# npm checks each package's digest by the lock file, and writes this file when it is done.
tools/k8s/node_modules/.package-lock.json: tools/k8s/package-lock.json
	cd tools/k8s && npm ci --loglevel error --no-audit --no-fund
	@touch $@
