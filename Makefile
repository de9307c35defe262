# Every check that CI runs is a target here; `make` alone lists them.
# Needed: Go and a POSIX system with bash. `browser`, `wasm` and `realpeers` need more: node, npm, a Chromium, and see .ci/run.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c

# staticcheck is run by version, so that the root go.mod stays without a require line.
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
# How long each fuzz target runs: a duration, or a count of inputs such as 50000x.
FUZZTIME ?= 10s
# The same in ci: a count, so that a slow machine does the same work as a fast one.
CI_FUZZTIME ?= 20000x
# Which benchmarks `microbench` runs, as a regular expression, and the flags of `bench`.
BENCH ?= .
BENCHFLAGS ?=
# How long make soak runs, and in ci. 30m is what a release waits for.
SOAKTIME ?= 1m
CI_SOAKTIME ?= 60s
CHROMIUM ?= /usr/bin/chromium
# Which examples `browser` drives, such as "chat game"; none means all, -screenshots stores those of examples/README.md.
EXAMPLES ?=

CROSS := linux/arm64 linux/s390x darwin/arm64 windows/amd64 freebsd/amd64 js/wasm

.PHONY: help
help: ## list the targets
	@echo "Targets:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS='|' read -r target text; do printf '  %-16s %s\n' "$$target" "$$text"; done

.PHONY: test
test: ## go test ./... (offline, no tools but Go)
	go test ./...

.PHONY: check
check: fmt vet staticcheck race ## gofmt, go vet, staticcheck, and the tests under the race detector

.PHONY: fmt
fmt: ## fail with the list of files that gofmt would change
	@files=$$(find . -name '*.go' -not -path '*/node_modules/*' -not -path '*/.venv/*' -print0 | xargs -0 gofmt -l); \
	if [ -n "$$files" ]; then echo "gofmt would change:"; echo "$$files"; exit 1; fi
	@echo "gofmt: nothing to change"

.PHONY: vet
vet: ## go vet
	go vet ./...

.PHONY: staticcheck
staticcheck: ## staticcheck, at the pinned version
	go run $(STATICCHECK) ./...

.PHONY: race
race: ## the tests under the race detector, in random order
	go test -race -shuffle=on -timeout 20m ./...

.PHONY: poison
poison: ## the tests with pools that overwrite what is given back, and miss what is not
	go vet -tags websocketpoison ./...
	go test -tags websocketpoison -shuffle=on . ./wsjson ./internal/...

.PHONY: soak
soak: ## 2,000 connections of mixed traffic for SOAKTIME (1m; before a release 30m), after which nothing may be left
	go run ./soak -duration $(SOAKTIME)

.PHONY: cross
cross: ## build and vet for other systems, and test as a 32-bit program
	@for p in $(CROSS); do \
		printf 'build and vet %s\n' "$$p"; \
		export CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/}; \
		go build ./...; go vet ./...; \
	done
	GOARCH=386 CGO_ENABLED=0 go test ./...

# The versions of Go that must pass, in addition to the one that is installed. Newer patch versions may take their place.
GO_VERSIONS ?= go1.25.12 go1.26.8 go1.27.1

.PHONY: goversions
goversions: ## go test ./... by the other supported versions of Go (needs the module proxy)
	@own=$$(go env GOVERSION); own=$${own%.*}; \
	for version in $(GO_VERSIONS); do \
		if [[ $${version%.*} == "$$own" ]]; then continue; fi; \
		printf '%s\n' "$$version"; \
		GOTOOLCHAIN=$$version go vet ./...; \
		GOTOOLCHAIN=$$version go test ./...; \
	done

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10s) each
	@for pkg in $$(go list ./...); do \
		list=$$(go test -list '^Fuzz' "$$pkg"); \
		for target in $$(grep '^Fuzz' <<<"$$list" || true); do \
			printf '%s %s\n' "$$pkg" "$$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$pkg"; \
		done; \
	done

.PHONY: autobahn
autobahn: ## the 517 cases of the Autobahn suite and those beyond it, by our own runner, through each door in both directions (autobahn/README.md)
	go test ./autobahn -run Doors -timeout 40m -args -full
	go test ./autobahn/suite -run Broken -timeout 20m -args -full

# The official suite needs CPython 2.7 or Docker. With OFFICIAL=-optional it is left out where there is neither.
OFFICIAL ?=

.PHONY: autobahn-official
autobahn-official: ## the official suite against our server: its 301 cases without compression, and 34 of those with it
	go run ./autobahn/run -direction server $(OFFICIAL)
	go run ./autobahn/run -direction server -cases '12.1.1-6,13.*.1-4' -count 34 $(OFFICIAL)

.PHONY: autobahn-full
autobahn-full: ## all 517 cases of the official suite in both directions, and again as a server through the package gorilla
	go run ./autobahn/run -full
	@mkdir -p artifacts
	go build -o artifacts/echogorilla ./autobahn/echogorilla
	go run ./autobahn/run -full -direction server -echoserver artifacts/echogorilla

# The flags of autobahn/agreement, such as -broken or -peers.
AGREEMENT ?=

.PHONY: autobahn-agreement
autobahn-agreement: ## the verdicts of the official suite and of ours about other libraries, case by case (hours; AGREEMENT="-cases 1-10" minutes)
	npm ci --ignore-scripts --no-audit --no-fund --prefix autobahn/agreement/peers
	cd autobahn/agreement && go run . $(AGREEMENT)

.PHONY: suites
suites: ## the tests of other libraries, and of programs that use them, with this module in their place (needs the module proxy)
	cd suites && go vet ./... && go run .

.PHONY: suites-full
suites-full: ## the same with the large programs: half an hour
	cd suites && go run . -full

.PHONY: suites-update
suites-update: ## suites-full, and write what it finds to suites/pins.json and docs/compatibility.md
	cd suites && go run . -full -update

.PHONY: bench
bench: ## measure the server against other libraries, ten minutes; BENCHFLAGS=-quick for under one
	cd benchmarks && go run ./cmd/wsbench $(BENCHFLAGS)

.PHONY: many
many: ## 20,000 connections with heartbeats and a hub in the event way: none may be lost (half a minute)
	cd benchmarks && go run ./cmd/many -connections 20000 -duration 6s -broadcasts 2 -cut 2000

.PHONY: microbench
microbench: ## the benchmarks of single functions, in both modules; BENCH=regexp chooses
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...
	cd benchmarks && go test -run '^$$' -bench '$(BENCH)' -benchmem ./micro

.PHONY: interop
interop: ## our ends against those of other libraries, in the nested module benchmarks/ (needs the module proxy)
	cd benchmarks && go vet ./... && go test ./...

# The tests of the modules run side by side, because they wait for the most part.
BROKERS := hub/redisbroker hub/natsbroker examples/cluster

.PHONY: brokers
brokers: ## hubs of two processes through real servers of Redis and NATS (needs redis-server, nats-server, the module proxy)
	@for module in $(BROKERS); do \
		printf '%s\n' "$$module"; \
		(cd "$$module" && go vet ./... && go run $(STATICCHECK) ./... && go test -race -run '^$$' ./...); \
	done
	@out=$$(mktemp -d); trap 'rm -rf "$$out"' EXIT; \
	for module in $(BROKERS); do \
		(cd "$$module" && go test -race -timeout 20m ./... >"$$out/$${module##*/}" 2>&1 && touch "$$out/$${module##*/}.passed") & \
	done; \
	wait; \
	for module in $(BROKERS); do cat "$$out/$${module##*/}"; done; \
	for module in $(BROKERS); do [ -e "$$out/$${module##*/}.passed" ] || { printf 'make brokers: %s failed\n' "$$module"; exit 1; }; done

.PHONY: brokers-full
brokers-full: ## 100,000 messages through each fault of the engines, which takes half an hour
	cd hub/redisbroker && go test -run 'TestFaults|Failover|Resharding' -v -timeout 1h . -full
	cd hub/natsbroker && go test -run 'TestFaults|LeaderKilled' -v -timeout 1h . -full

.PHONY: modules
modules: ## mend go.mod and go.work of the nested modules
	go run ./internal/release modules

.PHONY: tidy
tidy: ## go mod tidy in every module, with the tree as the last release (needs the module proxy)
	go run ./internal/release tidy

.PHONY: strangers
strangers: ## publish all modules to a folder, and get, build and install each as a stranger would (needs the module proxy)
	go run ./internal/release strangers

# The version to release, such as v0.2.0; DO=1 commits and tags, without it nothing is written.
VERSION ?=
DO ?=

.PHONY: release
release: ## what a release of VERSION would do; with DO=1 commit and tag all modules
	go run ./internal/release tag $(if $(DO),-do) $(VERSION)

.PHONY: otel
otel: ## metrics and spans by OpenTelemetry's SDK, and the page for Prometheus (needs the module proxy)
	@for module in otelws examples/metrics; do \
		printf '%s\n' "$$module"; \
		cd "$(CURDIR)/$$module"; go vet ./...; go run $(STATICCHECK) ./...; go test -race -timeout 20m ./...; \
	done

.PHONY: middleware
middleware: ## behind chi, gin, echo, gorilla/mux, otelhttp and their loggers, compressors, sessions (needs the module proxy)
	cd internal/middleware && go vet ./... && go test -race ./...

.PHONY: streams
streams: ## connections over channels of SSH and streams of QUIC, and within fasthttp and fiber (needs the module proxy)
	cd internal/streams && go vet ./... && go test -race ./...

.PHONY: streams-full
streams-full: ## all 517 Autobahn cases, and those beyond, through fasthttp, fiber and a channel of SSH (minutes)
	cd internal/streams && go test -run Autobahn -timeout 40m -args -full

.PHONY: http2
http2: ## WebSocket over HTTP/2: raw frames, Autobahn's 517 cases, Chromium, haproxy; raw frames on each Go (needs chromium, haproxy, the module proxy)
	cd internal/h2peer && go vet ./... && go test -race -skip "Chromium|HAProxy|Autobahn" ./... && REALPEERS=1 CHROMIUM=$(CHROMIUM) go test -timeout 20m -run "Chromium|HAProxy|Autobahn" ./... -args -full
	@for version in $(GO_VERSIONS); do \
		printf '%s\n' "$$version"; \
		(cd internal/h2peer && GOTOOLCHAIN=$$version go test -skip 'Chromium|HAProxy|Autobahn' ./...); \
	done

.PHONY: browser
browser: ## two windows of each example in a headless Chromium; screenshots in artifacts/ (needs node, npm, chromium)
	npm ci --ignore-scripts --no-audit --no-fund --prefix examples/browsertest
	node --test examples/browsertest/*.test.mjs
	CHROMIUM=$(CHROMIUM) node examples/browsertest/run.mjs $(EXAMPLES)

.PHONY: wasm
wasm: ## programs of js/wasm: Dial by the WebSocket objects of Chromium and of Node (needs node, chromium)
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	go build -o "$$dir/exec" ./internal/jstest/exec; \
	export CHROMIUM=$(CHROMIUM) GOOS=js GOARCH=wasm; \
	JSTEST_IN=chromium go test -count=1 -timeout 2m -exec "$$dir/exec" ./internal/jstest; \
	JSTEST_IN=node go test -count=1 -timeout 2m -exec "$$dir/exec" ./internal/jstest ./wstest; \
	JSTEST_IN=node go test -count=1 -timeout 2m -exec "$$dir/exec" -run '^Test' ./wsjson

# Set to -race to run our ends under the race detector.
REALPEERS_RACE ?=

.PHONY: realpeers
realpeers: ## browsers, other clients and servers, and proxies, with our ends (needs what .ci/run installs)
	npm ci --ignore-scripts --no-audit --no-fund --prefix realpeers
	go run $(REALPEERS_RACE) ./realpeers/run -chromium $(CHROMIUM)

# The stages of ci, in order: what fails fast comes first.
CI_STAGES := check goversions poison soak cross wasm browser realpeers strangers interop many otel middleware streams http2 brokers autobahn autobahn-official suites fuzz

.PHONY: ci
ci: ## what .ci/run does after go test ./...
	@for stage in $(CI_STAGES); do \
		printf '\n== %s  make %s\n' "$$(date +%T)" "$$stage"; \
		$(MAKE) --no-print-directory "$$stage" FUZZTIME=$(CI_FUZZTIME) SOAKTIME=$(CI_SOAKTIME) OFFICIAL=-optional; \
	done
	@printf '\n== %s  make ci: all stages passed\n' "$$(date +%T)"
