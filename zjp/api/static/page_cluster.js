// The nodes, who leads, and how the leadership went over time.
import { get, path, post } from "./api.js";
import { confirm } from "./dialog.js";
import { h, region } from "./dom.js";
import { ago, number, span } from "./format.js";
import { leaderRibbon } from "./ribbon.js";
import { ring } from "./ring.js";
import { badge, bar, button, code, empty, facts, heading, panel } from "./parts.js";
import { may } from "./session.js";
import { table } from "./table.js";
import { toast } from "./toast.js";

/** A node alone chooses nobody. */
const LESSONS = ["bully", "raft", "gossip"];
const HEALTH = { alive: "completed", suspect: "retrying", dead: "failed", left: "cancelled" };

export function cluster(view) {
  const head = region("div", {}, (one) => drawHead(view, one));
  const map = region("div", { class: "ring-box" }, ring);
  const summary = region("div", {}, drawSummary);
  const nodes = table({ label: "Nodes", key: (one) => one.id, empty: () => empty("No node known."), columns: nodeColumns(view) });
  const ribbon = region("div", {}, leaderRibbon);
  const history = table({ label: "Election history", key: (one) => `${one.at} ${one.kind} ${one.node} ${one.epoch}`, empty: noHistory, columns: CHANGES });
  const lesson = region("div", {}, drawLesson);

  view.keep(async (signal) => {
    const one = await get("/api/v1/cluster", {}, signal);
    head.draw({ name: one.name, leader: one.leader, node: one.node });
    map.draw(one.nodes.map(({ id, is_leader: isLeader, status, is_draining: isDraining }) => ({ id, isLeader, status, isDraining })));
    summary.draw({ ...one, nodes: one.nodes.map((node) => node.status) });
    nodes.draw(one.nodes);
    view.hasContent = true;
  }, { kinds: ["leader"], everyMs: 3000 });
  view.keep(async (signal) => {
    const election = await get("/api/v1/election", {}, signal);
    ribbon.draw(election.history);
    history.draw(election.history);
    if (LESSONS.includes(election.algorithm)) lesson.draw(await get(path`/api/v1/election/algorithms/${election.algorithm}`, {}, signal));
  }, { kinds: ["leader"], everyMs: 15_000 });

  return [head.element, h("div", { class: "columns even" }, panel("Who is there", {}, map.element), panel("Leadership", {}, summary.element)),
    panel("Nodes", {}, nodes.element), panel("Election history", { tools: [h("small", {}, "as this node saw it")] }, ribbon.element, history.element), lesson.element];
}

function drawHead(view, { name, leader, node }) {
  return heading(`Cluster ${name}`, `As node ${node} sees it`, may("admin") && button("Hand over the leadership", () => confirm({
    title: "Hand over the leadership?", verb: "Hand it over", isDanger: false, text: `${leader || "The leader"} steps down, and the others choose. Jobs go on meanwhile; periodic ones wait a moment.`,
    deed: async () => { await post("/api/v1/leader/step-down", {}); toast("The leadership is handed over"); view.refresh(); } }), { disabled: !leader }));
}

function drawSummary({ leader, epoch, algorithm, quorum, has_quorum: hasQuorum, voters, nodes }) {
  const alive = nodes.filter((status) => status === "alive").length;
  return facts([
    ["Leader", leader || badge("none", "failed")],
    [algorithm === "raft" ? "Term" : "Epoch", epoch],
    ["Algorithm", algorithm === "alone" ? "none: this node is alone" : algorithm],
    ["Nodes", `${alive} of ${nodes.length} alive`],
    ["Quorum", quorum ? [badge(hasQuorum ? "reached" : "not reached", hasQuorum ? "completed" : "failed"), ` ${quorum} must agree`] : "none needed: the store alone decides"],
    ["Voters", voters?.length ? voters.join(", ") : null],
  ]);
}

function nodeColumns(view) {
  return [
    { title: "Node", kind: "main", cell: (one) => [h("strong", {}, one.id), one.is_leader && badge("leader", "lead"), h("small", {}, one.address)] },
    { title: "Role", cell: (one) => one.role },
    { title: "Status", cell: (one) => [badge(one.status, HEALTH[one.status] ?? "cancelled"), one.is_draining && badge("draining", "retrying")] },
    { title: "Since", cell: (one) => ago(one.since) },
    { title: "Slots", cell: (one) => (one.slots === null ? "–" : [`${one.busy} of ${one.slots} busy`, bar([[one.busy, "running"]], Math.max(one.slots, one.busy))]) },
    { title: "Up", kind: "num", cell: (one) => span(one.uptime_seconds) },
    { title: "Priority", kind: "num", cell: (one) => number(one.priority) },
    { title: "Boot", kind: "num", cell: (one) => number(one.boot) },
    { title: "Version", cell: (one) => one.version || "–" },
    may("admin") && { title: "Actions", kind: "deeds", cell: (one) => deeds(view, one) },
  ].filter(Boolean);
}

function deeds(view, one) {
  const address = path`/api/v1/nodes/${one.id}`;
  const named = (verb) => ({ "data-key": `${verb} ${one.id}`, "aria-label": `${verb}: ${one.id}`, disabled: one.status !== "alive" });
  if (one.is_draining) return button("Resume", () => view.act(() => post(`${address}/resume`), `${one.id} takes jobs again`), named("Resume"));
  return button("Drain", () => confirm({ title: `Drain ${one.id}?`, verb: "Drain the node", isDanger: false,
    text: "It takes no more jobs, lets what runs finish, and hands the leadership over. Resume undoes it.",
    deed: async () => { await post(`${address}/drain`); toast(`${one.id} drains`); view.refresh(); } }), named("Drain"));
}

const KINDS = { leader_elected: "completed", leader_lost: "failed", election_failed: "failed", fence_refused: "failed", election_started: "retrying" };

const CHANGES = [
  { title: "When", cell: (one) => ago(one.at) },
  { title: "What", kind: "main", cell: (one) => badge(one.kind.replaceAll("_", " "), KINDS[one.kind] ?? "cancelled") },
  { title: "Node", cell: (one) => one.node || "–" },
  { title: "Epoch", kind: "num", cell: (one) => one.epoch || "–" },
  { title: "Why", kind: "grow", cell: (one) => one.why.replaceAll("_", " ") || "–" },
  { title: "Election took", kind: "num", cell: (one) => (one.took_ms ? span(one.took_ms / 1000) : "–") },
  { title: "Without a leader", kind: "num", cell: (one) => (one.leaderless_ms ? span(one.leaderless_ms / 1000) : "–") },
];

const noHistory = () => empty("No election yet.", "Who was chosen, why, how long it took and how long nobody led is listed here.");

/** How the algorithm in use works, for who wants to know. */
function drawLesson({ title, summary, steps, promises, settings }) {
  return h("details", { class: "panel lesson" }, h("summary", {}, h("h2", {}, `How ${title} works`)), h("p", {}, summary),
    h("div", { class: "columns" }, h("div", {}, h("h3", {}, "Steps"), h("ol", {}, steps.map((text) => h("li", {}, text)))), h("div", {}, h("h3", {}, "What it promises"), h("ul", {}, promises.map((text) => h("li", {}, text))))),
    h("h3", {}, "Settings"), facts(settings.map((one) => [one.name, [code(String(one.value)), one.default !== one.value && ` (default ${one.default})`, h("small", {}, ` ${one.meaning}`)]])));
}
