// What runs later: periodic jobs (cron or interval) and single jobs that wait for their time.
import { get, path, patch, post, remove } from "./api.js";
import { confirm } from "./dialog.js";
import { h } from "./dom.js";
import { ago } from "./format.js";
import { jobTable } from "./page_jobs.js";
import { badge, button, code, empty, heading, jobLink, panel } from "./parts.js";
import { to } from "./router.js";
import { scheduleDialog } from "./schedule_form.js";
import { may } from "./session.js";
import { table } from "./table.js";

const DELAYED_SHOWN = 25;
const NEXT_SHOWN = 5;

export function scheduled(view) {
  const periodic = table({ label: "Periodic jobs", key: (one) => one.name, empty: noSchedules, columns: [
    { title: "Name", kind: "main", cell: (one) => [h("a", { href: to(["jobs"], { tag: `schedule:${one.name}` }), "data-key": one.name }, one.name), h("small", {}, one.type)] },
    { title: "When", cell: (one) => [one.cron ? h("code", { class: "cron" }, one.cron) : `every ${one.every}`, h("small", {}, one.cron ? one.zone : "", one.catch_up !== "once" && ` catch-up: ${one.catch_up}`)] },
    { title: "Next", cell: (one) => (one.paused ? badge("paused") : next(one)) },
    { title: "Last", cell: (one) => (one.last_job ? jobLink(one.last_job, ago(one.last_at)) : ago(one.last_at, "not yet")) },
    may("admin") && { title: "Actions", kind: "deeds", cell: (one) => deeds(view, one) },
  ].filter(Boolean) });
  const delayed = jobTable("Jobs that wait for their time", { emptyText: () => empty("No delayed jobs.", "A submit with a delay or a time (", code("--delay 5m"), ") waits here.") });
  const retrying = jobTable("Jobs that wait for a retry", { emptyText: () => empty("No job waits for a retry.", "One that failed and has retries left does.") });

  view.keep(async (signal) => {
    periodic.draw((await get("/api/v1/schedules", {}, signal)).items);
    view.hasContent = true;
  }, { everyMs: 5000 });
  const list = (status, shown) => view.keep(async (signal) => shown.draw((await get("/api/v1/jobs", { status, limit: DELAYED_SHOWN }, signal)).items), { kinds: ["jobs"], everyMs: 10_000 });
  list("scheduled", delayed);
  list("retrying", retrying);

  return [heading("Scheduled", "Times are shown from now; the exact ones are in their titles", may("admin") && button("Add a periodic job", () => scheduleDialog(view), { class: "primary" })),
    panel("Periodic", {}, periodic.element),
    panel("Delayed", { tools: [h("a", { href: to(["jobs"], { status: "scheduled" }) }, "All delayed jobs")] }, delayed.element),
    panel("Waiting for a retry", { tools: [h("a", { href: to(["jobs"], { status: "retrying" }) }, "All retrying jobs")] }, retrying.element)];
}

function noSchedules() {
  return empty("No periodic jobs.", "Add one here, or on the command line: ", code("zjp schedules add nightly report --cron '0 3 * * *'"), ".");
}

const UNITS_MS = { ms: 1, s: 1000, m: 60_000, h: 3600_000, d: 86_400_000 };

/** The next ticks of an interval follow from the first of them; those of a cron expression are the node's to say. */
function next(one) {
  const every = /^([\d.]+)(ms|s|m|h|d)$/.exec(one.every ?? "");
  const known = one.next_runs ?? (every && one.next_at ? ticks(Date.parse(one.next_at), Number(every[1]) * UNITS_MS[every[2]]) : [one.next_at]);
  return [ago(known[0]), known.length > 1 && h("small", { class: "times" }, known.slice(1, NEXT_SHOWN).map((at, index) => [index > 0 && ", ", ago(at)]))];
}

const ticks = (first, every) => Array.from({ length: NEXT_SHOWN }, (_, at) => new Date(first + at * every).toISOString());

function deeds(view, one) {
  const address = path`/api/v1/schedules/${one.name}`;
  const key = (verb) => ({ "data-key": `${verb} ${one.name}`, "aria-label": `${verb}: ${one.name}` });
  return [
    button("Run now", () => view.act(() => post(`${address}/run`), "One run more was submitted"), key("Run now")),
    button(one.paused ? "Resume" : "Pause", () => view.act(() => patch(address, { paused: !one.paused }), one.paused ? "Resumed" : "Paused"), key(one.paused ? "Resume" : "Pause")),
    button("Edit", () => scheduleDialog(view, one), key("Edit")),
    button("Remove", () => confirm({ title: `Remove ${one.name}?`, verb: "Remove it", text: "It submits no more jobs; those that it has submitted stay.",
      deed: async () => { await remove(address); view.refresh(); } }), { class: "danger", ...key("Remove") }),
  ];
}
