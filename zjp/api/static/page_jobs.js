// The list of jobs: filters in the address, live on its first page, pages by cursor, deeds on a selection or on all that match.
import { get } from "./api.js";
import { bulkBar } from "./bulk.js";
import { h, show } from "./dom.js";
import { ago, between, shortId, span } from "./format.js";
import { state } from "./live.js";
import { badge, button, empty, heading, jobLink } from "./parts.js";
import { refine, to } from "./router.js";
import { may } from "./session.js";
import { submitDialog } from "./submit.js";
import { table } from "./table.js";

const LIMIT = 50;
const SHORT_PAGES_MAX = 10; // A filter looks at 10,000 jobs a request: so many requests before the page says how far it looked.
export const STATUSES = ["pending", "scheduled", "running", "retrying", "cancelling", "completed", "failed", "cancelled"];
const NARROW = 860; // As in parts.css.
const FILTERS = ["status", "type", "queue", "tag", "created_after", "created_before"];
/** Of these the API's list knows nothing, its bulk does; the page itself leaves the others out. */
const OWN_FILTERS = ["error"];

export function jobs(view) {
  const query = view.place.query;
  const picked = new Set();
  const list = jobTable("Jobs", { picked: may("user") ? picked : null, onpick: () => deeds.draw() });
  const deeds = bulkBar({ view, picked, filter: { ...filterOf(query), ...(query.error && { error: query.error }) }, canFilter: true, clear: () => { picked.clear(); list.mark(); deeds.draw(); } });
  const pages = h("div", { class: "row pages" });
  const isLive = !query.cursor;

  view.keep(async (signal) => {
    const page = await filled(query, signal);
    list.draw(page.items);
    deeds.element.hidden = page.items.length === 0;
    show(pages, pageLinks(query, page));
    view.hasContent = true;
  }, isLive ? { kinds: ["jobs"], everyMs: 10_000 } : {});

  return [heading("Jobs", isLive ? "Live: in the order they will run, then finished ones, newest first" : "A later page, as it was when you came here",
    may("user") && button("Submit a job", () => submitDialog(view), { class: "primary" })),
  filterBox(query), may("user") && deeds.element, list.element, pages];
}

const filterOf = (query) => Object.fromEntries(FILTERS.filter((name) => query[name]).map((name) => [name, query[name]]));

/** A page of up to LIMIT jobs: where a filter finds few among many, several answers make one page. */
async function filled(query, signal) {
  const items = [];
  let cursor = query.cursor;
  let scanned = 0;
  for (let asked = 0; asked < SHORT_PAGES_MAX; asked++) {
    const page = await get("/api/v1/jobs", { ...filterOf(query), limit: LIMIT, cursor }, signal);
    items.push(...page.items.filter((job) => !query.error || job.error?.type === query.error));
    scanned += page.scanned ?? 0;
    cursor = page.cursor;
    if (!cursor || items.length >= LIMIT) break;
  }
  return { items, cursor, scanned };
}

function pageLinks(query, { items, cursor, scanned }) {
  const { cursor: _, ...first } = query;
  return [
    h("small", {}, `${items.length} shown${scanned > items.length ? `, ${scanned} looked at` : ""}`),
    query.cursor && h("a", { class: "button", href: to(["jobs"], first), "data-key": "first" }, "First page"),
    cursor && h("a", { class: "button", href: to(["jobs"], { ...query, cursor }), "data-key": "next" }, "Next page"),
  ];
}

/** Also for other pages that list jobs. */
export function jobTable(label, { picked = null, onpick, emptyText } = {}) {
  return table({ label, picked, onpick, key: (job) => job.id, empty: emptyText ?? nothing, columns: [
    { title: "Type", kind: "main", cell: (job) => [jobLink(job.id, job.type), h("small", { class: "id", title: job.id }, shortId(job.id))] },
    { title: "Status", cell: (job) => badge(job.status) },
    { title: "Queue", cell: (job) => job.queue },
    { title: "Priority", kind: "num", cell: (job) => job.priority },
    { title: "Created", cell: (job) => ago(job.created_at) },
    { title: "When", kind: "grow", cell: when },
  ] });
}

/** What matters of a job in its state, in one line. */
function when(job) {
  const runs = job.attempts.length;
  const failed = job.error && `${job.error.type}: ${job.error.message}`;
  switch (job.status) {
    case "scheduled": return ["runs ", ago(job.scheduled_at)];
    case "running": case "cancelling": return ["started ", ago(job.started_at), job.node_id && ` on ${job.node_id}`];
    case "retrying": return ["again ", ago(job.scheduled_at), `, run ${runs + 1}`, failed && h("span", { class: "one-line" }, failed)];
    case "completed": return [ago(job.completed_at), ` in ${span(between(job.started_at, job.completed_at))}`];
    case "failed": return [ago(job.completed_at), h("span", { class: "one-line" }, failed)];
    case "cancelled": return ago(job.completed_at);
    default: return job.retry_count ? `run ${runs + 1}` : "waits for a free slot";
  }
}

function nothing() {
  return Object.keys(location.hash.includes("?") ? { any: 1 } : {}).length
    ? empty("No job matches.", "Take a filter away, or ", h("a", { href: to(["jobs"]) }, "show all jobs"), ".")
    : empty("No jobs yet.", "Submit one with the button above, or on the command line: ", h("code", {}, "zjp submit TYPE key=value"), ".");
}

/** On a narrow screen it is closed while it filters nothing. */
function filterBox(query) {
  const isOpen = innerWidth > NARROW || Object.keys(query).length > 0;
  return h("details", { class: "filter-box", open: isOpen }, h("summary", {}, "Filters"), filters(query));
}

function filters(query) {
  const form = h("form", { class: "filters", "aria-label": "Filters", onsubmit: (event) => { event.preventDefault(); apply(); }, onchange: () => apply() },
    labelled("Status", h("select", { name: "status" }, [["", "any"], ...STATUSES.map((one) => [one, one])].map(([value, text]) => h("option", { value, selected: value === (query.status ?? "") }, text)))),
    labelled("Type", text("type", query, { "data-search": true })),
    labelled("Queue", text("queue", query, { list: "queue-names" })),
    labelled("Tag", text("tag", query)),
    query.error !== undefined && labelled("Error", text("error", query)),
    labelled("Created after", time("created_after", query)),
    labelled("Created before", time("created_before", query)),
    h("datalist", { id: "queue-names" }, (state.stats?.queues ?? []).map((queue) => h("option", { value: queue.queue }))),
    h("div", { class: "row" }, Object.keys(query).length > 0 && h("a", { class: "button quiet", href: to(["jobs"]) }, "Clear")));
  function apply() {
    const values = [...FILTERS, ...OWN_FILTERS].map((name) => [name, form.elements[name]?.value.trim() ?? ""]);
    refine(Object.fromEntries(values.map(([name, value]) => [name, value && name.startsWith("created") ? new Date(value).toISOString() : value])));
  }
  return form;
}

const labelled = (title, input) => h("label", {}, h("span", {}, title), input);

const text = (name, query, more) => h("input", { type: "text", name, autocomplete: "off", spellcheck: "false", "data-key": name, value: query[name] ?? "", ...more });

/** A time of the address in the local form that such an input has. */
function time(name, query) {
  const at = query[name] ? new Date(query[name]) : null;
  const local = at && !Number.isNaN(at.getTime()) ? new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16) : "";
  return h("input", { type: "datetime-local", name, "data-key": name, value: local });
}
