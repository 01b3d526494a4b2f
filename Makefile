# The only entry point: `make` lists what there is. Each target installs what it needs.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CARGO ?= cargo
# Tests against a control plane wait more than they compute.
TEST_THREADS ?= 8
# The number of people in `make bench`.
N ?= 500
# Only one part of it: make bench ONLY=accounts; of accounts only one system: SYSTEM=ldap.
ONLY ?=
SYSTEM ?=

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ---- See it ----------------------------------------------------------------------------------

.PHONY: demo
demo: ## See usher at work on a throw-away control plane (or on the cluster of USHER_KUBECONFIG)
	@hack/demo

.PHONY: demo-full
demo-full: ## The same with accounts in five real systems, a forge to push to among them; they are installed first
	@hack/demo-full

.PHONY: dev
dev: ## Start a control plane and the operator and leave them running; again: with the newest code
	@hack/dev start

.PHONY: dev-stop
dev-stop: ## Stop what `make dev` started
	@hack/dev stop

# ---- Prove it --------------------------------------------------------------------------------

# What these leave behind is searched for every secret that they made; it is kept where USHER_EVIDENCE says.
define leaving_evidence
evidence=$${USHER_EVIDENCE:-}; \
[[ $$evidence ]] || { evidence=$$(mktemp -d "$${TMPDIR:-/tmp}/usher-evidence.XXXXXX") && trap 'rm -rf "$$evidence"' EXIT; }; \
export USHER_EVIDENCE=$$evidence; \
$(CARGO) test --locked --test systems && \
$(CARGO) test --locked --test cluster -- --test-threads=$(TEST_THREADS) && \
hack/no-secrets --needs operator,audit,objects,metrics,systems,connectors,token,credential,password,system,made "$$evidence"
endef

.PHONY: test
test: tools ## Run every test, those against a real control plane included, and find no secret in what they left
	$(CARGO) test --locked --no-run
	$(CARGO) test --locked --lib --bins
	$(CARGO) test --locked --test it
	$(leaving_evidence)

# How long `make soak` is: make soak STEPS=5000 SOAK_MINUTES=240.
STEPS ?= 1000
SOAK_MINUTES ?= 60

.PHONY: soak
soak: tools ## For longer than in `make test`: 1,000 random steps of everything at once, then an hour of coming and going with flat memory
	USHER_STEPS=$(STEPS) $(CARGO) test --locked --test cluster interleaving -- --nocapture
	USHER_MINUTES=$(SOAK_MINUTES) $(CARGO) test --locked --test cluster churn -- --nocapture

.PHONY: check
check: check-format check-lint check-dependencies check-chart check-generated ## Format, lints, licences, chart, generated files

.PHONY: check-format
check-format: ## cargo fmt changes nothing
	$(CARGO) fmt --check

.PHONY: check-lint
check-lint: ## clippy has nothing to say, and the shell scripts parse
	$(CARGO) clippy --locked --all-targets -- -D warnings
	for script in hack/control-plane hack/demo hack/demo-full hack/dev hack/go.sh hack/install-tools hack/operator.sh hack/stage.sh $(addprefix hack/systems/,lib.sh install.sh loopback.sh chromium gitea keycloak ldap postgresql promtool scim scim-tester) .ci/run; do bash -n "$$script"; done

.PHONY: check-dependencies
check-dependencies: ## Licences, sources and versions of dependencies are as deny.toml says
	hack/install-tools cargo-deny
	.tools/bin/cargo-deny --locked check --hide-inclusion-graph bans licenses sources

.PHONY: check-chart
check-chart: ## helm lint
	hack/install-tools helm
	.tools/bin/helm lint --strict charts/usher

.PHONY: check-generated
check-generated: ## crds/, the chart's copies and docs/reference/ are fresh
	rm -rf target/generated
	$(CARGO) run --locked --quiet -- crds --dir target/generated
	diff -r target/generated/crds crds || { echo 'stale: run make crds' >&2; exit 1; }
	diff -r target/generated/charts/usher/templates/crds charts/usher/templates/crds || { echo 'stale: run make crds' >&2; exit 1; }
	$(CARGO) test --locked --quiet --test it docs::

.PHONY: bench
bench: tools ## Measure N people against bare clients that write the same: make bench N=500, or one part of it: ONLY=accounts
	$(CARGO) bench --locked --bench bench -- --people $(N) $(if $(ONLY),--only $(ONLY)) $(if $(SYSTEM),--system $(SYSTEM))

# ---- Make it ---------------------------------------------------------------------------------

.PHONY: crds
crds: ## Write crds/ and the chart's copies from src/api
	$(CARGO) run --locked --quiet -- crds --dir .

.PHONY: docs
docs: ## Write docs/reference/ from src/api
	UPDATE_DOCS=1 $(CARGO) test --locked --quiet --test it docs::reference

.PHONY: chart
chart: check-chart ## Pack the chart into target/chart
	.tools/bin/helm package charts/usher --destination target/chart

.PHONY: tools
tools: ## Build the control plane's servers, kubectl and Helm into .tools (once)
	@hack/install-tools
