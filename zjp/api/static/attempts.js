// The attempts of a job: drawn along the time from its making to its end, and as a list with every error.
import { h, s } from "./dom.js";
import { ago, between, shortId, span } from "./format.js";
import { badge, empty } from "./parts.js";

const LANE = 18;
const WIDTH_MIN = 0.4; // Per cent of the whole: the shortest run can still be seen.
const DRAWN_MAX = 30;

/** How an attempt's outcome looks; the word itself always stands beside it. */
const KINDS = { completed: "completed", failed: "failed", retried: "retrying", snoozed: "scheduled", crashed: "failed", lost: "failed",
  timeout: "failed", cancelled: "cancelled", running: "running" };

export function attemptsView(job) {
  const runs = attemptsOf(job);
  if (runs.length === 0) return h("div", { class: "empty" }, empty("No attempt yet.", "Each run of the job is listed here: where, how long, how it ended."));
  return [waterfall(job, runs), h("ol", { class: "attempts" }, runs.map(attempt))];
}

/** Those that ended, and the one that runs now: the API tells it by the job's own fields. */
export function attemptsOf(job) {
  const isRunning = job.status === "running" || job.status === "cancelling";
  if (!isRunning || !job.started_at) return job.attempts;
  return [...job.attempts, { node: job.node_id, worker: job.worker_id, start: job.started_at, end: null, outcome: "running", fence: null, error: null }];
}

const kindOf = (one) => KINDS[word(one)] ?? (one.error ? "failed" : "cancelled");

const word = (one) => one.outcome || (one.end ? "ended" : "running");

function waterfall(job, all) {
  const runs = all.slice(-DRAWN_MAX);
  const start = Date.parse(all.length > DRAWN_MAX ? runs[0].start : job.created_at);
  const end = Math.max(...runs.map((one) => (one.end ? Date.parse(one.end) : Date.now())), start + 1);
  const percent = (at) => (100 * (Date.parse(at) - start)) / (end - start);
  const lanes = runs.map((one, at) => {
    const x = Math.max(0, Math.min(100 - WIDTH_MIN, percent(one.start)));
    const width = Math.max(WIDTH_MIN, (one.end ? percent(one.end) : 100) - x);
    return s("g", {}, s("rect", { class: "lane", x: "0", width: "100%", y: at * LANE + 8, height: 1 }),
      s("rect", { class: `fill-${kindOf(one)}`, x: `${x}%`, width: `${Math.min(width, 100 - x)}%`, y: at * LANE + 3, height: LANE - 7, rx: 3 }));
  });
  return h("figure", { class: "waterfall" }, s("svg", { role: "img", height: runs.length * LANE, width: "100%", "aria-label": `${runs.length} attempts over ${span((end - start) / 1000)}` }, lanes),
    h("figcaption", {}, h("span", {}, all.length > DRAWN_MAX ? `last ${DRAWN_MAX}` : "created"), h("span", {}, span((end - start) / 1000))));
}

function attempt(one, at) {
  return h("li", {}, h("div", { class: "bars-head" }, h("strong", {}, `Attempt ${at + 1}`), badge(word(one), kindOf(one)),
    h("span", {}, ago(one.start), one.end && `, ran ${span(between(one.start, one.end))}`, ` on ${one.node}`, one.worker && ` (worker ${one.worker})`), one.fence !== null && h("small", {}, `fence ${one.fence}`)),
  one.error && h("details", {}, h("summary", {}, `${one.error.type}${one.error.message ? `: ${one.error.message}` : ""}`),
    one.error.traceback && h("pre", { class: "code traceback", tabindex: 0, role: "region", "aria-label": `Traceback of attempt ${at + 1}` }, one.error.traceback)));
}
