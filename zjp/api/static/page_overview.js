// How things are: alarms, jobs by state, throughput, queues, the leader and the workers, what failed last.
import { get } from "./api.js";
import { lineChart } from "./chart.js";
import { h, region, show } from "./dom.js";
import { ago, number, rate, span } from "./format.js";
import { seen, state } from "./live.js";
import { badge, bar, empty, facts, heading, jobLink, panel } from "./parts.js";
import { to } from "./router.js";
import { alarms } from "./shell.js";
import { firstSteps } from "./first_steps.js";

const FAILED_SHOWN = 6;
const STATES = [["pending", "Waiting"], ["running", "Running"], ["retrying", "Retrying"], ["scheduled", "Scheduled"]];

export function overview(view) {
  const note = h("p", { class: "note" });
  const title = h("div", { class: "heading" }, h("div", {}, h("h1", {}, "Overview"), note));
  const attention = region("div", { class: "alarms" }, (said) => said.map((text) => h("p", { class: "alarm" }, text)));
  const cards = region("div", { class: "cards" }, drawCards);
  const pace = lineChart({ label: "Jobs finished per second", format: rate, series: [
    { name: "finished /s", kind: "completed", of: (one) => one.done }, { name: "failed /s", kind: "failed", of: (one) => one.failed }] });
  const depth = lineChart({ label: "Jobs waiting and running", format: number, least: 2, series: [
    { name: "waiting", kind: "pending", of: (one) => one.waiting }, { name: "running", kind: "running", of: (one) => one.running },
    { name: "retrying", kind: "retrying", of: (one) => one.retrying ?? 0 }] });
  const queues = region("div", {}, drawQueues);
  const node = region("div", {}, drawNode);
  const failed = region("div", {}, drawFailed);
  const begin = h("div", {});

  const drawStats = (stats) => {
    show(note, `Node ${stats.node} · version ${stats.version} · up ${span(stats.uptime_seconds)}`);
    attention.draw(alarms(stats));
    cards.draw(cardFigures(stats));
    pace.draw(state.samples);
    depth.draw(state.samples);
    queues.draw(stats.queues);
    node.draw(nodeFigures(stats));
    view.hasContent = true;
  };
  view.keep(async (signal) => drawStats(await fresh(signal)), { kinds: ["stats"] });
  view.keep(async (signal) => {
    const page = await get("/api/v1/jobs", { status: "failed", limit: FAILED_SHOWN }, signal);
    failed.draw(page.items);
    const any = page.items.length || state.samples.length > 30 || await hasJobs(signal);
    show(begin, any ? [] : firstSteps());
  }, { kinds: ["jobs"], cares: (data) => data.left_out > 0 || data.happened.some((one) => one.state === "failed" || one.state === "completed"), everyMs: 20_000 });

  return [title, attention.element, begin, cards.element,
    h("div", { class: "columns" }, panel("Throughput", { tools: [h("small", {}, "mean of the last minute")] }, pace.element), panel("In the queues", {}, depth.element)),
    h("div", { class: "columns" }, panel("Recent failures", { tools: [h("a", { href: to(["failed"]) }, "All failures")] }, failed.element),
      h("div", { class: "stack" }, panel("Queues", { tools: [h("a", { href: to(["queues"]) }, "All queues")] }, queues.element), panel("Cluster", { tools: [h("a", { href: to(["cluster"]) }, "Nodes and elections")] }, node.element)))];
}

/** The figures as the stream told them last, or asked for while it has told none. */
async function fresh(signal) {
  if (state.stats && Date.now() - Date.parse(state.stats.at) < 5000) return state.stats;
  const stats = await get("/api/v1/stats", {}, signal);
  seen(stats);
  return stats;
}

const hasJobs = async (signal) => (await get("/api/v1/jobs", { limit: 1 }, signal)).items.length > 0;

function cardFigures({ totals, throughput, failures, queues, workers }) {
  const oldest = Math.max(0, ...queues.map((queue) => (queue.paused ? 0 : queue.oldest_seconds)));
  return { totals, done: throughput, failed: failures, notes: {
    pending: totals.pending ? `oldest ${span(oldest)}` : "nothing waits", running: `${workers.busy} of ${workers.slots} slots`,
    retrying: "failed, run again", scheduled: "wait for their time" } };
}

function drawCards({ totals, done, failed, notes }) {
  return [
    ...STATES.map(([status, title]) => figure(title, status, number(totals[status]), notes[status])),
    figure("Finished", "completed", perSecond(done["1m"]), `15 min: ${rate(done["15m"])} /s`),
    figure("Failed", "failed", perSecond(failed["1m"]), `15 min: ${rate(failed["15m"])} /s`),
  ];
}

const perSecond = (value) => [rate(value), h("small", {}, " /s")];

const figure = (title, status, value, note) => h("a", { class: `card is-${status}`, href: to(["jobs"], { status }), "data-key": status },
  h("span", { class: "card-name" }, h("i", { class: `dot fill-${status}` }), title), h("span", { class: "figure" }, value), h("small", {}, note));

function drawQueues(queues) {
  if (queues.length === 0) return h("div", { class: "empty" }, empty("No queue yet.", "The first submit makes it."));
  const whole = Math.max(1, ...queues.map(total));
  return h("ul", { class: "bars" }, queues.map((queue) => h("li", {},
    h("div", { class: "bars-head" }, h("a", { href: to(["jobs"], { queue: queue.queue }), "data-key": queue.queue }, queue.queue),
      queue.paused && badge("paused"), h("span", {}, counts(queue))),
    bar([[queue.running, "running"], [queue.pending, "pending"], [queue.retrying, "retrying"], [queue.scheduled, "scheduled"]], whole))));
}

function counts(queue) {
  const words = STATES.filter(([state]) => queue[state]).map(([state, title]) => `${number(queue[state])} ${title.toLowerCase()}`);
  if (queue.oldest_seconds >= 1) words.push(`oldest ${span(queue.oldest_seconds)}`);
  return words.join(", ") || "empty";
}

const total = (queue) => queue.pending + queue.scheduled + queue.retrying + queue.running;

const nodeFigures = ({ leader, algorithm, workers, nodes, records, backlog }) => ({ leader, algorithm, workers, nodes, records, backlog });

function drawNode({ leader, algorithm, workers, nodes, records, backlog }) {
  return [facts([
    ["Leader", leader ? [leader.node, h("small", {}, ` epoch ${leader.epoch}, ${algorithm}`)] : badge("none", "failed")],
    ["Nodes", `${nodes.alive} of ${nodes.total} alive`],
    ["Slots", [`${workers.busy} of ${workers.slots} busy`, bar([[workers.busy, "running"]], workers.slots)]],
    ["Worker processes", `${workers.ready} of ${workers.total} ready`],
    ["Records", `${number(records)} finished jobs kept`],
    ["On their way to the records", backlog > 0 && number(backlog)],
  ])];
}

function drawFailed(items) {
  if (items.length === 0) return h("div", { class: "empty" }, empty("Nothing has failed.", "Jobs that fail for good are listed here, with their traceback."));
  return h("ul", { class: "failures" }, items.map((job) => h("li", {},
    h("div", { class: "bars-head" }, jobLink(job.id, job.type), badge(job.error?.type ?? "failed", "failed"), h("span", {}, ago(job.completed_at))),
    h("p", { class: "one-line" }, job.error?.message || "without a message"))));
}
