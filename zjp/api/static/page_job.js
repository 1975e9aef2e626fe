// One job: where it stands, why it failed, what it got and gave, every attempt, and what can be done with it.
import { get, path, post, remove } from "./api.js";
import { attemptsOf, attemptsView } from "./attempts.js";
import { confirm } from "./dialog.js";
import { h, region } from "./dom.js";
import { ago, between, span } from "./format.js";
import { jsonView } from "./json_view.js";
import { badge, button, code, empty, facts, jobLink, panel } from "./parts.js";
import { go, to } from "./router.js";
import { may } from "./session.js";
import { asCurl, asPython } from "./snippets.js";
import { submitDialog } from "./submit.js";
import { copy } from "./toast.js";

const FINISHED = ["completed", "failed", "cancelled"];
const MOVING_MS = 2000; // How often a job is asked for that is not finished: other nodes' happenings are a sample.

export function job(view) {
  const id = view.place.parts[1];
  const address = path`/api/v1/jobs/${id}`;
  const content = region("div", { class: "stack" }, (one) => (one ? drawJob(view, one, address) : drawMissing(id)));
  let present = null;

  const load = async (signal) => {
    try {
      present = await get(address, {}, signal);
    } catch (fault) {
      if (fault.status !== 404) throw fault;
      present = null;
    }
    content.draw(present);
    view.hasContent = true;
  };
  const run = view.keep(load, { kinds: ["jobs"], cares: (data) => data.happened.some((one) => one.id === id) });
  const timer = setInterval(() => present && !FINISHED.includes(present.status) && !document.hidden && run(), MOVING_MS);
  view.signal.addEventListener("abort", () => clearInterval(timer));
  return content.element;
}

function drawMissing(id) {
  return [h("h1", {}, "No such job"), h("div", { class: "empty" }, empty("There is no job with this id, or not any more.",
    "Finished jobs are kept for RECORDS_TTL. Id: ", code(id), ". ", h("a", { href: to(["jobs"]) }, "All jobs")))];
}

function drawJob(view, job, address) {
  return [head(view, job, address), job.error && fault(job.error, job.status), timing(job),
    h("div", { class: "columns" }, panel("Payload", { tools: [copier("Copy payload", () => JSON.stringify(job.payload, null, 2), "The payload")] }, jsonView(job.payload, "Payload")),
      panel("Result", {}, result(job))),
    panel(`Attempts (${attemptsOf(job).length})`, {}, attemptsView(job))];
}

function head(view, job, address) {
  return h("div", { class: "heading" }, h("div", {},
    h("p", { class: "crumbs" }, h("a", { href: to(["jobs"]) }, "Jobs"), " / ", h("a", { href: to(["jobs"], { type: job.type }) }, job.type)),
    h("h1", {}, job.type, " ", badge(job.status)),
    h("p", { class: "note id" }, job.id, " ", copier("Copy id", () => job.id, "The id"))),
  h("div", { class: "row" }, deeds(view, job, address), button("Copy as curl", () => copy(asCurl(job), "The curl command")), button("Copy as Python", () => copy(asPython(job), "The program"))));
}

const copier = (text, make, what) => button(text, () => copy(make(), what), { class: "quiet" });

/** What may be done in this state, by this role. */
function deeds(view, job, address) {
  const isFinished = FINISHED.includes(job.status);
  const isDelayed = job.status === "scheduled" || job.status === "retrying";
  const act = (verb, said) => view.act(() => post(`${address}/${verb}`), said);
  return [
    may("user") && isFinished && button("Run again", () => act("retry", "It runs again"), { class: "primary" }),
    may("user") && button("Run again with edits", () => submitDialog(view, job)),
    may("user") && isDelayed && button("Run now", () => act("promote", "It runs as soon as a slot is free"), { class: "primary" }),
    may("user") && !isFinished && button("Cancel", () => confirm({ title: "Cancel this job?", verb: "Cancel the job",
      text: job.status === "running" ? "It is told to stop, and killed when it does not." : "It never starts.",
      deed: async () => { await post(`${address}/cancel`); view.refresh(); } }), { class: "danger" }),
    may("admin") && button("Delete", () => confirm({ title: "Delete this job?", verb: "Delete the job",
      text: "It is cancelled when it is not finished, and its record is gone for good.",
      deed: async () => { await remove(address); go(["jobs"]); } }), { class: "danger" }),
  ];
}

function fault(error, status) {
  const title = status === "failed" ? "Why it failed" : "The last error";
  return panel(title, { kind: "bad", tools: [error.traceback && copier("Copy traceback", () => error.traceback, "The traceback")] },
    h("p", { class: "error-line" }, h("strong", {}, error.type), error.message && `: ${error.message}`),
    error.traceback && h("pre", { class: "code traceback", tabindex: 0, role: "region", "aria-label": "Traceback" }, error.traceback));
}

function timing(job) {
  return panel("Job", {}, facts([
    ["Queue", h("a", { href: to(["jobs"], { queue: job.queue }) }, job.queue)],
    ["Priority", job.priority],
    ["Created", ago(job.created_at)],
    ["Runs", !job.started_at || job.status === "scheduled" || job.status === "retrying" ? ago(job.scheduled_at, "as soon as a slot is free") : null],
    ["Waited", job.started_at && job.attempts.length <= 1 && span(between(due(job), job.started_at))],
    ["Started", job.started_at && ago(job.started_at)],
    ["Finished", job.completed_at && ago(job.completed_at)],
    ["Took", job.completed_at && job.started_at && span(between(job.started_at, job.completed_at))],
    ["Node", job.node_id],
    ["Worker", job.worker_id],
    ["Retries", job.max_retries === null ? `${job.retry_count}; the task sets the limit` : `${job.retry_count} of ${job.max_retries}`],
    ["Time limit", job.timeout],
    ["Unique key", job.unique_key && code(job.unique_key)],
    ["Tags", job.tags.length > 0 && job.tags.map((tag) => [h("a", { class: "tag", href: to(["jobs"], { tag }) }, tag), " "])],
    ["Progress", job.progress !== null && progress(job.progress)],
  ]));
}

const due = (job) => (job.scheduled_at && job.scheduled_at > job.created_at ? job.scheduled_at : job.created_at);

/** What ctx.progress told: a bar where the whole is known. */
function progress(value) {
  const { done, total: whole } = value;
  if (typeof done !== "number" || !(whole > 0)) return code(JSON.stringify(value));
  return [h("progress", { max: whole, value: done, "aria-label": "Progress" }), ` ${Math.round((100 * done) / whole)} %`, value.note && ` ${value.note}`];
}

function result(job) {
  if (job.status === "completed") return jsonView(job.result, "Result");
  if (FINISHED.includes(job.status)) return h("div", { class: "empty" }, empty("No result.", `The job ${job.status === "failed" ? "failed" : "was cancelled"}.`));
  return h("div", { class: "empty" }, empty("Not yet.", "What the task returns is shown here once it has ended."));
}
