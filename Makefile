# Everything that is done with this repository, by name; `make` lists it. What
# takes more than a line is in scripts/.

.DEFAULT_GOAL := help
.PHONY: help run test e2e bench fuzz lint vuln chart gen build images clean

ARGS ?=
BENCH ?=
SCENARIO ?=
FUZZTIME ?= 60s
TARGET ?=

# Go writes the commit into programs, and fails where git refuses to tell it:
# in a clone that belongs to somebody else, as in many containers.
ifneq ($(shell git rev-parse --git-dir >/dev/null 2>&1 && echo yes),yes)
export GOFLAGS := $(GOFLAGS) -buildvcs=false
endif

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build Parley and start all of it on http://localhost:8080, data in ./data (ARGS="--help" for flags)
	@echo "Building; the first time takes a few minutes, later ones seconds."
	go build -o bin/ ./services/cmd/parley
	bin/parley serve $(ARGS)

test: ## everything that proves the project, as CI does it; installs what it needs on Debian
	@scripts/test

e2e: ## the whole product through real sockets, processes and a browser, with pictures in test-artifacts (PARLEY_URL=http://… tries that deployment)
	@scripts/e2e

bench: ## Go benchmarks with their memory, and parley bench, which writes services/e2e/bench.md (BENCH=regexp or SCENARIO=name: only that)
ifeq ($(SCENARIO),)
	@scripts/bench -benchmem -bench '$(or $(BENCH),.)'
endif
ifeq ($(BENCH),)
	go build -o bin/ ./services/cmd/parley
	bin/parley bench --duration 5s $(if $(SCENARIO),--scenario $(SCENARIO),--markdown services/e2e/bench.md)
endif

fuzz: ## every fuzz target for FUZZTIME=60s (TARGET="FuzzSession …": only these)
	@scripts/fuzz $(FUZZTIME) $(TARGET)

lint: ## format, vet, staticcheck, contracts, and the walls between packages
	@scripts/lint
	go test -count=1 ./services/structure

vuln: ## what Go's vulnerability database knows against what the programs call; fails where nobody can be asked (GOVULNDB=file:///… names a copy)
	@scripts/vuln

chart: ## lint, render and test the Helm chart without a cluster
	@scripts/chart

gen: ## write the Go code and the reference of proto/, the module of pkg/sdk-ts, the chart's copies and the list of licences anew
	@scripts/gen

build: ## all programs into ./bin
	go build -o bin/ ./services/cmd/...

images: ## an image of each program for amd64 and for arm64, and its SBOM, with docker, podman or buildah (IMAGES=prefix PLATFORMS="linux/amd64": scripts/images tells more)
	@scripts/images

clean: ## remove what was built (not ./data)
	rm -rf bin .tools test-artifacts

# PARLEY_SOAK_SEED=… repeats a run's choices; services/e2e/faults tells the rest.
.PHONY: soak
SOAK ?= 30m
RATE ?= 1000
CONNECTIONS ?= 10000

soak: ## break a deployment of real processes for SOAK=30m under RATE=1000 messages a second and CONNECTIONS=10000 that come and go; check delivery, and that nothing grows (test-artifacts/soak.json)
	cd services && PARLEY_SOAK_TIME=$(SOAK) PARLEY_SOAK_RATE=$(RATE) PARLEY_SOAK_CONNECTIONS=$(CONNECTIONS) PARLEY_SOAK_RESULT=$(CURDIR)/test-artifacts/soak.json go test -count=1 -v -timeout 24h -run '^TestFaults$$' ./e2e/faults

.PHONY: hostile
hostile: ## attack a Parley of real processes in full size, while two clients chat: 15,000 connections and more, some minutes (wants 20,000 file descriptors)
	cd services && PARLEY_HOSTILE=full go test -count=1 -v -timeout 30m ./e2e/hostile

.PHONY: disk
disk: ## let disks and clocks of real processes go wrong, under the delivery checker (root's, for it mounts small disks; some minutes)
	cd services && PARLEY_DISK=full go test -count=1 -v -timeout 30m -run '^Test(Disk|Clock)' ./e2e/faults

.PHONY: report
REPORT ?= 10m
RUN ?=

report: ## break things for REPORT=10m under RATE=1000 messages a second, or take a soak (RUN=test-artifacts/soak.json), run the tests of disks, clocks and hostile clients, and write services/e2e/REPORT.md
	cd services && go run ./e2e/report/write -time $(REPORT) -rate $(RATE) $(if $(RUN),-run $(abspath $(RUN)))
