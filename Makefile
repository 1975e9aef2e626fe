# What one does with a checkout. Needs a virtual environment with the package: pip install -e '.[test]'

PYTHON ?= python
RUN := $(PYTHON) -m

TESTS_OF_REDIS := tests/queue tests/records tests/system tests/cluster tests/chaos/test_nth_call.py tests/chaos/test_chaos_redis.py tests/chaos/steady \
	tests/api/test_two_nodes.py tests/cli/test_doctor_shared.py tests/node/test_lost_answers.py tests/operations/test_away.py \
	tests/operations/test_scraping.py tests/deploy/test_scripts.py tests/test_docs_cluster.py

.DEFAULT_GOAL := help

.PHONY: help test valkey lint bench peers chaos power cluster containers fuzz api-fuzz demo docs sims curves

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

test: ## all tests but the long forms
	$(RUN) pytest -q -n 2 --dist worksteal

valkey: ## the tests that need a redis-server, on VALKEY_SERVER=/path/to/valkey-server instead
	@test -x "$(VALKEY_SERVER)" || { echo 'give VALKEY_SERVER=/path/to/valkey-server'; exit 2; }
	folder=$$(mktemp -d) && trap "rm -r $$folder" EXIT && ln -s "$(abspath $(VALKEY_SERVER))" $$folder/redis-server && \
		PATH="$$folder:$$PATH" $(RUN) pytest -q -n 2 --dist worksteal -k 'not sqlite' $(TESTS_OF_REDIS)

lint: ## style, types and import contracts
	$(RUN) ruff check .
	$(RUN) mypy
	$(PYTHON) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()' --no-logo

bench: ## the whole path, latency, memory and the small parts; writes JSON and SVG
	$(RUN) benchmarks

peers: ## zjp beside Celery, Dramatiq, RQ, arq, taskiq, SAQ, Huey and asynq; needs redis-server and go
	$(RUN) benchmarks.peers

chaos: ## 1,000 worker and 100 node kills on SQLite; three nodes on Redis with 300 node, 100 Redis kills, 100 zombies; judged
	$(RUN) tests.chaos --kills 1000 --node-kills 100
	$(RUN) tests.chaos --queue redis --nodes 3 --records mongo --kills 300 --node-kills 300 --redis-kills 100 --zombies 100 \
		--redis-stops 2 --resets 100 --mongo-outages 1 --drains 10 --others 20
	$(RUN) tests.chaos.steady --algorithm raft --rate 2000 --leader-kill-every 0 --mongo-away-s 60 --effects-each 10

power: ## 50 power cuts of each store, judged; Linux, needs root
	$(RUN) tests.power --cuts 50

sims: ## 120 seeds of each election core in simulated clusters, and the planted bugs
	$(RUN) sims fuzz --seeds 120
	$(RUN) sims mutants

curves: ## the published curves of elections and membership, by the real cores in the simulator; a quarter of an hour
	$(RUN) sims curves

cluster: ## 200 kills and 200 stops of the leader by each algorithm, cuts, loss; judged; Linux, needs root and nft
	$(RUN) tests.cluster --algorithm all --kills 200 --zombies 200 --cuts 50 --lose-s 600 --load-s 300
	$(RUN) tests.chaos.steady --algorithm all --rate 2000 --seconds 300 --leader-kill-every 5 --effects-each 10

containers: ## the image and the compose files on a real engine, as shipped; writes the report
	$(RUN) tests.deploy.containers --report docs/reports/containers.md

fuzz: ## a million damaged frames into the wire codec
	$(RUN) tests.wire.fuzz --frames 1000000

api-fuzz: ## 5,000 requests by schemathesis against a running API; 500 slow connections beside others
	$(RUN) tests.api.fuzz --cases 5000
	$(RUN) tests.api.attack

demo: ## index a real folder, kill a worker half-way, compare everything
	$(RUN) zjp demo

docs: ## write the generated files again
	$(RUN) zjp.config env > .env.example
	$(RUN) zjp.config markdown > docs/settings.md
	$(RUN) scripts.metrics_page > docs/metrics.md
	$(RUN) zjp.cli.reference > docs/cli.md
	$(RUN) scripts.grafana_dashboards
	$(RUN) tests.wire.grammar
	$(RUN) tests.traceability > docs/traceability.md
