# What one does with this repository. Building needs Go and nothing else; `make test`
# brings the AWS CLI if there is none, and the AWS SDK for JavaScript where there is npm.

.DEFAULT_GOAL := help
.PHONY: help run build test lint bench generate

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/iamd
	go build -trimpath -o bin/iamd ./cmd/iamd

run: build ## build iamd and start it on its own store; ARGS="--listen 127.0.0.1:0" adds flags
	-@scripts/install-dynoxide
	exec bin/iamd serve --workloads=process $(ARGS)

test: ## run every check: formatting, vet, staticcheck, govulncheck, tests, stories, race detector
	scripts/test

lint: ## run the checks that only read the code
	scripts/test lint

bench: ## measure, beside other engines and servers, in one run
	cd bench && go run . $(ARGS)

generate: ## make the generated files anew; needs npm and the registries
	go generate ./...
