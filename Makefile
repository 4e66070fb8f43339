# castoff: two commands. `make try` looks at it, `make test` proves it.

.PHONY: help try test soak build install packages screenshots bench lab-up lab-down lab-reset
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'

packages: ## install what the build and the lab need (Debian or Ubuntu, root)
	@scripts/packages

try: build ## bring a small real Backend.AI up and open castoff on it
	@lab/up
	@"$$(scripts/binary)" run backend-ai --cluster lab/.state/default/castoff.toml --state lab/.state/default/castoff; \
	code=$$?; [ $$code -ne 1 ] && [ $$code -ne 2 ]  # leaving at a gate (13) is no failure of make

test: packages ## format, lints and every test, against real servers
	@scripts/test

soak: packages ## what takes too long for `make test`: every fault at every phase, a hundred kills; with figures
	@scripts/soak

screenshots: ## draw every screen from the real program on a real lab, into screenshots/
	@scripts/packages scripts/packages.screenshots
	@cargo build
	@scripts/screenshots

bench: packages ## what the terminal costs, with the limit beside each figure
	@cargo bench --bench terminal

build: packages ## build castoff
	@cargo build

install: packages ## build with optimisation and install to ~/.cargo/bin
	@cargo install --locked --path .

lab-up: packages ## only the lab
	@lab/up

lab-reset: ## the lab, back to its start
	@lab/reset

lab-down: ## end the lab
	@lab/down
