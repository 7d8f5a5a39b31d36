# Shortcuts for users. The commands are implemented in TypeScript (`bin/`); this file installs, builds and calls them.
# `npm ci` installs Node 24 into node_modules, so the Node that runs npm may be older (20 or newer). On a platform that it has no
# Node for, the installed one must be Node 24 or newer.

NODE   = $(shell test -x node_modules/.bin/node && echo node_modules/.bin/node || echo node)
FAME   = bin/fame
# On a terminal the command has printed why it ended, so make adds no error. Scripts get the exit code, except that of Ctrl-C.
QUIETLY = || { code=$$?; test $$code -eq 130 || { test -t 0 && test -t 1; } || exit $$code; }
CHAT   = $(FAME) chat $(ARGS) $(QUIETLY)
STAMP := dist/.made

# An installed node_modules is as new as its lock file; a build is as new as the newest source.
SOURCES := $(shell find shared/src sentinel/src agents/src client/src doors/src bin -name '*.ts' ! -name '*.test.ts' 2>/dev/null) \
           $(shell find console/src -type f ! -name '*.test.ts' 2>/dev/null) \
           $(wildcard tsconfig*.json */tsconfig.json bin/bundle.mjs console/index.html console/vite.config.ts)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help start run run-verbose stop status logs doctor test bench bench-quick interop-python lint

help: ## show this list
	@echo 'Fame Fabric: make start run'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r name about; do \
	  printf '%-16s %s\n' "$$name" "$$about"; done
	@echo
	@echo 'Settings are environment variables or lines of .env: OPENAI_API_KEY, MODEL_NAME, FAME_LISTENER_PORT,'
	@echo 'MODE=local|docker (make start) and the others of docs/configuration.md.'

start: $(STAMP) ## start a sentinel and the chat agent in the background
	@$(FAME) local start $(if $(MODE),--mode '$(MODE)')

run: $(STAMP) ## talk to the chat agent
	@$(CHAT)

run-verbose: $(STAMP) ## like run, and print the metadata of every envelope
	@FAME_SHOW_ENVELOPES=$(or $(FAME_SHOW_ENVELOPES),true) $(CHAT)

stop: $(STAMP) ## stop what `make start` started
	@$(FAME) local stop

status: $(STAMP) ## show the state of the background processes
	@$(FAME) local status $(QUIETLY)

logs: $(STAMP) ## show the logs of the background processes, and follow them on a terminal
	@$(FAME) local logs $(QUIETLY)

doctor: $(STAMP) ## check this machine and print fixes
	@$(FAME) doctor $(QUIETLY)

test: node_modules/.package-lock.json ## build and run the tests
	@PATH="$(CURDIR)/node_modules/.bin:$$PATH" npm test

bench: node_modules/.package-lock.json ## build and measure
	@PATH="$(CURDIR)/node_modules/.bin:$$PATH" npm run bench

bench-quick: node_modules/.package-lock.json ## measure the gates of continuous integration, in 2 minutes
	@PATH="$(CURDIR)/node_modules/.bin:$$PATH" npm run bench-quick

interop-python: node_modules/.package-lock.json ## run Python naylence nodes with ours and print the table of combinations (downloads them)
	@PATH="$(CURDIR)/node_modules/.bin:$$PATH" npm run interop-python

lint: node_modules/.package-lock.json ## check format, style and types
	@PATH="$(CURDIR)/node_modules/.bin:$$PATH" npm run lint

node_modules/.package-lock.json: package-lock.json
	@echo 'Installing (npm ci)...' >&2
	@npm ci --no-fund --no-audit --loglevel=error >&2
	@touch $@

$(STAMP): node_modules/.package-lock.json $(SOURCES)
	@echo 'Building...' >&2
	@$(NODE) node_modules/typescript/bin/tsc -b bin >&2
	@$(NODE) bin/bundle.mjs >&2
	@$(NODE) node_modules/vite/bin/vite.js build console >&2
	@touch $@
