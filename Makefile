# The tasks of this repository. `make` lists them.
# CI runs `make ci` and nothing else: what is green here is green there.

GO       ?= go
LINT     := $(GO) tool -modfile=tools/go.mod golangci-lint
COMMAND  := $(GO) run ./cmd/spacegrid

FUZZTIME   ?= 10s# for each fuzz target
FUZZBUDGET ?= 300# seconds for all of them; targets get less when there are many
TIME       ?= 10m# for the comparison with the model
SEED       ?= 0# of it; 0 is drawn at random
DOWN       ?= 60s# how long a sink is down in pump-faults, an owner frozen, and leaders are moved
BURST      ?= 10m# how long ten times the load lasts there
DATA       ?=# a CSV file for queries
ARGS       ?=# handed on by trial, takes, claims, demo and bench

.DEFAULT_GOAL := help
.PHONY: help build install test race model sim bugs fuzz lint fmt format vet verify rules readme trial takes claims queries
.PHONY: chaos chaos-smoke power damage pump-faults soak failover demo bench ci clean

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## compile everything, and bin/spacegrid, without cgo
	CGO_ENABLED=0 $(GO) build ./...
	@if [ -d cmd ]; then mkdir -p bin && set -x && CGO_ENABLED=0 $(GO) build -o bin/ ./cmd/...; fi

install: ## put spacegrid into GOBIN
	CGO_ENABLED=0 $(GO) install -trimpath ./cmd/spacegrid

test: ## run every test
	$(GO) test ./...

race: ## run every test under the race detector
	$(GO) test -race -timeout 20m ./...

model: ## compare a partition with its model for TIME or ten million operations, from SEED
	$(GO) test -C grid/space -count=1 -timeout 0 -run '^TestModelForLong$$' -model.time=$(TIME) -model.seed=$(SEED)

sim: ## run whole clusters in memory, with faults, for TIME from SEED on
	$(GO) test ./internal/sim -count=1 -timeout 0 -v -run '^TestClustersForLong$$' -sim.time=$(TIME) -sim.seed=$(SEED)

bugs: ## break the product in every known way and demand that a test notices
	$(GO) test ./internal/chaos/bugs -count=1 -timeout 0 -v -run '^TestBugsAreCaught$$' -bugs.catch $(ARGS)

fuzz: ## fuzz every target for FUZZTIME, all of them for FUZZBUDGET seconds at most
	@.ci/fuzz $(FUZZTIME) $(FUZZBUDGET)

lint: ## run the linters that tools/go.mod pins
	$(LINT) run ./...

format: ## rewrite the Go files in their standard form
	$(LINT) fmt ./...

fmt: ## check that the Go files are in their standard form
	@out=$$(gofmt -s -l .); if [ -n "$$out" ]; then echo "not formatted, run 'make format':"; echo "$$out"; exit 1; fi

vet: ## run go vet
	$(GO) vet ./...

verify: ## check the downloaded modules against go.sum, in both modules
	$(GO) mod verify
	cd tools && $(GO) mod verify

rules: ## check the import rules and the rest of internal/lint
	$(GO) test -count=1 ./internal/lint

readme: ## run the commands that README.md promises
	@.ci/readme README.md

trial: ## run the acceptance trial
	scripts/trial $(ARGS)

takes: ## take entries while leaders are killed, and look whether each was handed out once
	scripts/work takes $(ARGS)

claims: ## claim entries of ordered groups while leaders and holders are killed
	scripts/work claims $(ARGS)

queries: ## compare the answers about the CSV file DATA (birdstrikes.csv, whole) with those of SQLite
	@[ -f "$(DATA)" ] || { echo "give a file: make queries DATA=/path/to/birdstrikes.csv"; exit 1; }
	SPACEGRID_QUERIES_DATA="$$(realpath "$(DATA)")" $(GO) test -count=1 -v -run TestQueriesAgreeWithSQLite ./cmd/spacegrid

chaos-smoke: bin/chaos ## real processes under each family of faults, once (5 minutes)
	bin/chaos chaos matrix --smoke --rounds 1 --under 8s

chaos: bin/chaos ## every workload under every family of faults, for 60 minutes; goes on where it was stopped
	bin/chaos chaos matrix --time 60m --out bin/chaos-results --page docs/chaos.md $(ARGS)

power: bin/chaos ## power failure of all members at once, 50 times under load
	bin/chaos chaos run --workload set --fault power-all --times 10 --strikes 5 $(ARGS)

damage: bin/chaos ## every kind of damage to every kind of file of one member
	bin/chaos chaos damage $(ARGS)

pump-faults: ## put the data pump and its stores through eight proofs, one line of JSON for each store
	$(GO) test ./internal/chaos/pumpfaults -count=1 -timeout 0 -v -run '^TestPumpFaults$$' -pump.down=$(DOWN) -pump.burst=$(BURST) $(ARGS)

soak: bin/chaos ## load in peace for an hour, and whether anything grows
	bin/chaos chaos soak --time 1h $(ARGS)

failover: bin/chaos ## how long clients cannot write after a member is killed, frozen or cut off, beside Redis and Olric
	cd bench/failover/olricd && CGO_ENABLED=0 $(GO) build -o ../../../bin/olricd .
	bin/chaos bench failover --olricd bin/olricd $(ARGS)

# Built anew each time: go knows best what has changed.
.PHONY: bin/chaos
bin/chaos:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/chaos ./cmd/spacegrid

demo: ## run the demonstration
	$(COMMAND) demo $(ARGS)

bench: ## run the benchmarks
	$(COMMAND) bench $(ARGS)

ci: ## do everything CI does, and say how long each step took
	@bash .ci/run

clean: ## remove what was built here
	rm -rf bin

