# Every command of this repository. `make` alone lists them; each installs what it needs and misses.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
# A root shell of Debian often lacks the directory where Go's own archive installs.
export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# Debian calls 32-bit Arm armhf; Go has two names for it. A Pi Zero (ARMv6) is served too.
ifeq ($(GOARCH),armhf)
override GOARCH := arm
endif
GOARM ?= 6
OUTPUT ?= bin/brambled$(if $(GOARCH),-$(GOARCH))

GO_TEST := go test
# Tests on real engines wait more than they compute: four at a time keep two cores busy to a half.
AT_ONCE := -parallel 4
# Contract tests are the files with this build tag: the same tests as against the fakes, on the real thing.
contract_packages = $(sort $(addprefix ./,$(dir $(shell grep -rlE '^//go:build .*\bintegration\b' --include='*_test.go' pkg 2>/dev/null))))

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: need-go ## Start Consul and brambled here, run the hello stack, stop all of it with Ctrl-C
	@scripts/run

.PHONY: test
test: need-go ## Everything: unit, lint, vuln, contract, e2e, lab-test
	@scripts/stages unit lint vuln contract e2e lab-test

.PHONY: test-long
test-long: need-go ## The tests that take long, half an hour or more; the results go to docs/test-long.md
	@scripts/require dockerd docker iptables ip promtool docker-registry
	@scripts/consul >/dev/null
	@scripts/lab prepare
	@scripts/test-long

.PHONY: unit
unit: need-go ## Unit tests with the race detector (the fast part)
	@scripts/require gcc
	$(GO_TEST) -race -timeout 5m ./...
	cd tools/vuln && $(GO_TEST) ./...

.PHONY: contract
contract: need-go ## The contract tests against real Consul and a real Docker Engine
	@scripts/require dockerd docker iptables ip promtool
	@scripts/consul >/dev/null
	@[ -n '$(contract_packages)' ] || { echo 'no contract test found under pkg/' >&2; exit 1; }
	$(GO_TEST) $(AT_ONCE) -tags integration -count=1 -timeout 10m $(contract_packages)

.PHONY: e2e
e2e: need-go ## End-to-end tests on one node: real Consul, real Docker Engine, the real binary
	@scripts/require dockerd docker iptables ip promtool systemd-analyze
	@scripts/consul >/dev/null
	$(GO_TEST) $(AT_ONCE) -tags e2e -count=1 -timeout 30m ./e2e ./e2e/harness

.PHONY: lab
lab: need-go ## Three Pis on this machine with the hello stack: enter, cut off, kill them; Ctrl-C removes all of it
	@scripts/lab up

.PHONY: lab-test
lab-test: need-go ## End-to-end tests on three Pis, booted as machines from the .deb
	@scripts/lab prepare
	$(GO_TEST) -tags e2e -count=1 -timeout 30m -v ./e2e/lab

.PHONY: images
images: need-go ## The images of images/ for this machine, as archives that docker load takes (GeoServer: see its README)
	@scripts/images $(or $(IMAGES),$(filter-out hello,$(notdir $(patsubst %/Dockerfile,%,$(wildcard images/*/Dockerfile)))))

.PHONY: images-test
images-test: need-go ## Each image in a container, its service used for real
	@scripts/require dockerd docker iptables ip
	$(GO_TEST) -tags e2e -count=1 -timeout 30m ./e2e/images

SOAK ?= 10m
.PHONY: soak
soak: need-go ## Draw faults from a seed for ten minutes and check what must hold; SOAK=2m SEED=7 KINDS=store PAGE=docs/soak.md
	@scripts/require dockerd docker iptables ip
	@scripts/consul >/dev/null
	BRAMBLED_SOAK='$(SOAK)' BRAMBLED_SOAK_SEED='$(SEED)' BRAMBLED_SOAK_PAGE='$(PAGE)' BRAMBLED_SOAK_KINDS='$(KINDS)' \
		$(GO_TEST) -tags e2e -count=1 -timeout 2h -v -run '^TestSoak' ./e2e

.PHONY: lint
lint: need-go ## golangci-lint, go.mod, shell scripts, the systemd unit
	@scripts/lint

.PHONY: vuln
vuln: need-go ## govulncheck: no called vulnerability that has a fix
	@cd tools/vuln && GOWORK=off go run . -repo ../.. -govulncheck "$$(../../scripts/tool govulncheck)"

.PHONY: mutants
mutants: need-go ## Break each safety rule on purpose; its test must fail
	@scripts/require git
	@go run ./mutants

.PHONY: docs
docs: need-go ## Write the generated pages again
	go generate ./...

.PHONY: build
build: need-go ## A static binary in bin/; GOARCH=arm64 or GOARCH=armhf for a Pi
	@mkdir -p $(dir $(OUTPUT))
	CGO_ENABLED=0 GOARCH=$(or $(GOARCH),$(shell go env GOARCH)) GOARM=$(GOARM) go build -trimpath -buildvcs=false \
		-ldflags '-s -w -X main.version=$(VERSION)' -o $(OUTPUT) ./cmd/brambled
	@ls -l $(OUTPUT)

.PHONY: deb
deb: need-go ## The Debian package in dist/; GOARCH=arm64 or GOARCH=armhf for a Pi
	@scripts/deb $(GOARCH)

.PHONY: clean
clean: ## Remove what make has built here
	rm -rf bin dist

.PHONY: need-go
need-go:
	@v=$$(go env GOVERSION 2>/dev/null) || v=; v=$${v#go}; IFS=. read -r major minor _ <<<"$${v:-0.0}"; \
	minor=$${minor%%[!0-9]*}; [ "$$major" -gt 1 ] || [ "$${minor:-0}" -ge 26 ] || \
	{ echo "brambled needs Go 1.26 or newer on the PATH (found: $${v:-none}): see https://go.dev/doc/install" >&2; exit 1; }
