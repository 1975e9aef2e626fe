"""What is done with the image and with each compose file, step by step; a step that fails is told, and the next is tried."""

from __future__ import annotations

import json
import secrets
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.deploy.engine import Engine, Failed, told
from tests.deploy.images import OURS
from tests.deploy.stage import JOB, SECRETS, Stage, seconds_until
from tests.system.running import NotInTime

SLEEP_S = 5.0
LEASE_S = 15.0
"""LEASE_DURATION, which the compose files leave as it is."""


@dataclass(frozen=True, slots=True)
class Step:
    what: str
    is_good: bool
    told: str
    seconds: float


class Steps:
    """`run` each in turn; prints as it goes."""

    def __init__(self, title: str) -> None:
        self.done: list[Step] = []
        print(f"── {title}", flush=True)

    def run(self, what: str, deed: Callable[[], str]) -> None:
        begun = time.monotonic()
        try:
            said, is_good = deed(), True
        except (Failed, NotInTime, OSError, LookupError, ValueError, AssertionError) as fault:
            said, is_good = f"{type(fault).__name__}: {fault}", False
        step = Step(what, is_good, said, time.monotonic() - begun)
        self.done.append(step)
        print(f"{'ok ' if step.is_good else 'NOT'} {step.seconds:6.1f} s  {what}: {said[:2000]}", flush=True)


def must(claim: bool, text: str) -> None:
    if not claim:
        raise Failed(text)


# ── the image ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def of_the_image(engine: Engine) -> list[Step]:
    steps = Steps("image")
    steps.run("without JWT_SECRET it ends with 78", lambda: _refuses(engine))
    steps.run("the command that it prints works", lambda: _printed_command(engine))
    steps.run("no root, no curl, nothing to write to", lambda: _locked(engine))
    return steps.done


def printed_command(engine: Engine) -> str:
    done = engine.tried("run", "--rm", OURS)
    must(done.returncode == 78, f"exit code {done.returncode}: {done.stderr}")
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("docker run"))
    return line


def _refuses(engine: Engine) -> str:
    return printed_command(engine)


def _printed_command(engine: Engine) -> str:
    """Word for word, but for a name to end it by, and the secret that a shell would have put in."""
    line = printed_command(engine).replace("$(openssl rand -hex 32)", secrets.token_hex(32))
    words = shlex.split(line)[1:]
    name = f"zjp-try-{secrets.token_hex(4)}"
    engine.docker("run", "--detach", "--name", name, *words[1:])
    try:
        took = seconds_until(lambda: engine.inspect(name)["State"]["Health"]["Status"] == "healthy", 90, "healthy")
        engine.docker("stop", "--time", "40", name)
    except BaseException:
        print(engine.tried("logs", name).stdout[-3000:])
        raise
    finally:
        engine.tried("rm", "--force", name)
        engine.tried("volume", "rm", "zjp-data")
    return f"healthy after {took:.1f} s"


def _locked(engine: Engine) -> str:
    script = "id -u; command -v curl wget || echo none; touch /app/x 2>&1 || true"
    said = engine.docker("run", "--rm", "--read-only", "--cap-drop", "ALL", OURS, "sh", "-c", script).split("\n")
    must(0 < int(said[0]) < 1000, f"uid {said[0]}")
    must("Read-only file system" in said[-2], said[-2])
    labels = engine.inspect_image(OURS)["Config"]["Labels"]
    must("org.opencontainers.image.licenses" in labels, str(labels))
    return f"uid {said[0]}; curl and wget: {said[1] if said[1] == 'none' else 'in the base image'}; {said[-2]}"


# ── a cluster ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def of_a_cluster(stage: Stage) -> list[Step]:
    steps = Steps(stage.file.name)
    steps.run("without secrets compose names what is missing", lambda: _needs_secrets(stage))
    try:
        steps.run("up -d --wait", lambda: _up(stage))
        steps.run("a user is added and logs in", lambda: _log_in(stage))
        steps.run("a job through each published address", lambda: _each_address(stage))
        steps.run("a producer with a key of its own", lambda: _producer(stage))
        steps.run("no node has another's key", lambda: _keys_apart(stage))
        steps.run("records are in MongoDB, the queue is on disk", lambda: _stores(stage))
        steps.run("Prometheus scrapes every node", lambda: _scraped(stage))
        steps.run("the leader is killed under a job", lambda: _kill_leader(stage))
        steps.run("it comes back", lambda: _back(stage))
        steps.run("a node is cut off from the network, and joins again", lambda: _cut_off(stage))
        steps.run("a node is rolled: drained, made anew, the others go on", lambda: _roll(stage))
        if stage.algorithm == "gossip":
            steps.run("--scale node-extra=2", lambda: _scale(stage))
        steps.run("up again changes nothing", lambda: _again(stage))
    finally:
        steps.run("down --volumes", lambda: _down(stage))
    return steps.done


def _needs_secrets(stage: Stage) -> str:
    bare = dict.fromkeys(SECRETS, "")
    done = stage.engine.compose("--env-file", "/dev/null", "-f", str(stage.file), "config", "--quiet", environment=bare)
    must(done.returncode != 0 and "copy compose/.env.example" in done.stderr, done.stderr)
    return done.stderr.strip().splitlines()[-1]


def _up(stage: Stage) -> str:
    stage.up()
    healths = {node: stage.health(node) for node in stage.nodes}
    must(set(healths.values()) == {"healthy"}, str(healths))
    must(stage.state("keys")["ExitCode"] == 0, "keys did not end well")
    return ", ".join(f"{node} {health}" for node, health in healths.items())


def _log_in(stage: Stage) -> str:
    stage.add_user()
    stage.log_in(stage.nodes[0])
    refused = {stage.status(node, "/api/v1/stats") for node in stage.nodes}
    must(refused == {401}, f"without a token: {refused}")
    return "without a token every node says 401"


def _each_address(stage: Stage) -> str:
    made = {node: stage.submit(node) for node in stage.nodes}
    others = stage.nodes[1:] + stage.nodes[:1]
    # Asked of another node than took it: any answers for any job.
    ended = [stage.finishes(asked, job) for asked, job in zip(others, made.values(), strict=True)]
    return "; ".join(f"{node}: run by {job['node_id']}" for node, job in zip(made, ended, strict=True))


def _producer(stage: Stage) -> str:
    said = []
    for node in stage.nodes:
        job = stage.produce(
            "submit", "email", "recipient=a@example.com", "subject=hi", "--wait", address=f"tcp://{node}:5570"
        )
        must(job["status"] == "completed", json.dumps(job))
        said.append(node)
    done = stage.engine.compose(
        *stage._files(), "run", "--rm", "--no-deps", "-T", "producer", "zjp", "queues", "pause", "default"
    )
    must(done.returncode == 77, f"a producer may pause a queue: exit code {done.returncode}: {done.stderr}")
    return f"submits by CURVE to {', '.join(said)}; may not pause a queue (77)"


def _keys_apart(stage: Stage) -> str:
    first, second = stage.nodes[:2]
    lists = {
        node: stage.within(node, "sh", "-c", "cat /keys/node.key | sha256sum; ls /keys/authorized | wc -l")
        for node in (first, second)
    }
    must(lists[first].split()[0] != lists[second].split()[0], "two nodes have one key")
    must(
        "node-2" not in stage.within(first, "ls", "-R", "/keys").replace("node-node-2", ""),
        "a node has another's folder",
    )
    done = stage.engine.tried("exec", stage.container(first), "touch", "/keys/x")
    must(done.returncode != 0, "a node can write to its keys")
    return f"each has its own, and {lists[first].split()[-1]} that it trusts; it cannot write there"


def _stores(stage: Stage) -> str:
    stats = stage.ask(stage.nodes[0], "/api/v1/stats")
    seconds_until(
        lambda: stage.ask(stage.nodes[0], "/api/v1/stats")["backlog"] in (0, {"count": 0, "bytes": 0}),
        30,
        "an empty outbox",
    )
    durability = stage.submit_answer(stage.nodes[0], JOB)["durability"]
    must(durability == "disk-1s", f"durability {durability}")
    return f"{stats['records']} records; an acknowledged job is worth {durability}"


def _scraped(stage: Stage) -> str:
    def seen() -> set[str]:
        with stage.open("http://127.0.0.1:9093/api/v1/query?query=zjp_up") as answer:
            found = json.loads(answer.read())["data"]["result"]
        return {one["metric"]["instance"].split(":")[0] for one in found if one["value"][1] == "1"}

    took = seconds_until(lambda: seen() >= set(stage.nodes), 60, "zjp_up of every node in Prometheus")
    with stage.open("http://127.0.0.1:9093/api/v1/rules") as answer:
        rules = sum(len(group["rules"]) for group in json.loads(answer.read())["data"]["groups"])
    must(rules > 0, "no alert rules")
    return f"{', '.join(sorted(seen()))} after {took:.1f} s; {rules} alert rules"


def _kill_leader(stage: Stage) -> str:
    leader = stage.leader(stage.nodes[0])
    others = [node for node in stage.nodes if node != leader]
    # More jobs than the others have room for at once, so that the leader has some of them.
    made = [stage.submit(leader, {"type": "sleep", "payload": {"seconds": SLEEP_S}}) for _ in range(30)]
    seconds_until(lambda: any(stage.job(leader, job)["node_id"] == leader for job in made), 20, "a job on the leader")
    must(leader in stage.nodes, f"{leader or 'nobody'} leads")
    begun = time.monotonic()
    stage.engine.docker("kill", stage.container(leader))
    seconds_until(lambda: stage.leader(others[0]) not in ("", leader), 30, "another leader")
    took = time.monotonic() - begun
    job = stage.submit(others[-1])
    stage.finishes(others[0], job)
    for one in made:
        stage.finishes(others[0], one, LEASE_S + 60)
    return f"{leader} killed; {stage.leader(others[0])} leads {took:.1f} s after the order; its jobs were finished by the others"


def _back(stage: Stage) -> str:
    stage.up()
    took = seconds_until(lambda: stage.alive(stage.nodes[0]) >= set(stage.nodes), 30, "all nodes alive")
    return f"{', '.join(stage.nodes)} alive {took:.1f} s after `up`"


def _cut_off(stage: Stage) -> str:
    node, other = stage.nodes[-1], stage.nodes[0]
    network = f"{stage.project}_default"
    stage.engine.docker("network", "disconnect", network, stage.container(node))
    gone = seconds_until(lambda: node not in stage.alive(other), 60, f"{node} seen as gone")
    stage.finishes(other, stage.submit(other))
    stage.engine.docker("network", "connect", "--alias", node, network, stage.container(node))
    back = seconds_until(lambda: node in stage.alive(other), 60, f"{node} seen alive again")
    ready = seconds_until(lambda: stage.health(node) == "healthy", 60, f"{node} healthy")
    seconds_until(lambda: stage.finishes(other, stage.submit(node), 30) is not None, 60, f"a job through {node}")
    return f"{node} seen as gone after {gone:.1f} s, alive {back:.1f} s after it was connected again, healthy after {back + ready:.1f} s"


def _roll(stage: Stage) -> str:
    node, other = stage.nodes[0], stage.nodes[1]
    job = stage.submit(node, {"type": "sleep", "payload": {"seconds": SLEEP_S}})
    stage.compose("stop", node)
    code = stage.state(node)["ExitCode"]
    must(code in (0, 75), f"{node} ended with {code}")
    stage.finishes(other, job)
    stage.compose("up", "-d", "--wait", "--no-deps", "--no-build", "--force-recreate", node)
    took = seconds_until(lambda: node in stage.alive(other), 30, f"{node} alive")
    return f"{node} drained (exit code {code}), made anew, alive {took:.1f} s after it was healthy"


def _scale(stage: Stage) -> str:
    stage.compose("up", "-d", "--wait", "--no-deps", "--no-build", "--scale", "node-extra=2", "node-extra")
    took = seconds_until(lambda: stage.alive(stage.nodes[0]) >= {"extra-1", "extra-2"}, 60, "extra-1 and extra-2 alive")
    stage.compose("up", "-d", "--wait", "--no-deps", "--no-build", "--scale", "node-extra=1", "node-extra")
    left = seconds_until(lambda: len(stage.alive(stage.nodes[0]) & {"extra-1", "extra-2"}) == 1, 60, "one of them left")
    return f"extra-1 and extra-2 alive {took:.1f} s after they were healthy; back to one: seen after {left:.1f} s"


def _again(stage: Stage) -> str:
    before = {node: stage.state(node)["StartedAt"] for node in stage.nodes}
    stage.up()
    must(before == {node: stage.state(node)["StartedAt"] for node in stage.nodes}, "nodes were started anew")
    return "no container was made anew"


def _down(stage: Stage) -> str:
    stage.down()
    left = told(
        stage.engine.tried("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={stage.project}"),
        ["ps"],
    )
    volumes = told(
        stage.engine.tried("volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={stage.project}"),
        ["volume"],
    )
    must(not left and not volumes, f"left: {left} {volumes}")
    return "nothing is left"
