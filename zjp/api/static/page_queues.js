// The queues: how much waits in each and for how long; pause, resume, purge.
import { get, path, post, remove } from "./api.js";
import { confirm } from "./dialog.js";
import { h } from "./dom.js";
import { number, span } from "./format.js";
import { badge, bar, button, code, empty, heading } from "./parts.js";
import { to } from "./router.js";
import { may } from "./session.js";
import { table } from "./table.js";
import { toast } from "./toast.js";

const COUNTS = [["pending", "Waiting"], ["running", "Running"], ["retrying", "Retrying"], ["scheduled", "Scheduled"]];

export function queues(view) {
  const list = table({ label: "Queues", key: (one) => one.queue, empty: none, columns: [
    { title: "Queue", kind: "main", cell: (one) => [h("a", { href: to(["jobs"], { queue: one.queue }), "data-key": one.queue }, one.queue), one.paused && badge("paused")] },
    ...COUNTS.map(([state, title]) => ({ title, kind: "num", cell: (one) => (one[state] ? h("a", { href: to(["jobs"], { queue: one.queue, status: state }), "data-key": `${one.queue} ${state}` }, number(one[state])) : "0") })),
    { title: "Oldest waits", kind: "num", cell: (one) => (one.pending ? span(one.oldest_seconds) : "–") },
    { title: "Share", kind: "grow", cell: (one) => bar([[one.running, "running"], [one.pending, "pending"], [one.retrying, "retrying"], [one.scheduled, "scheduled"]]) },
    may("admin") && { title: "Actions", kind: "deeds", cell: (one) => deeds(view, one) },
  ].filter(Boolean) });
  view.keep(async (signal) => {
    list.draw((await get("/api/v1/queues", {}, signal)).items);
    view.hasContent = true;
  }, { kinds: ["stats"], everyMs: 5000 });
  return [heading("Queues", "Within a queue: by priority, then first in, first out"), list.element];
}

const none = () => empty("No queue yet.", "A queue is there as soon as a job is submitted to it; nodes serve those that ", code("QUEUES"), " names.");

function deeds(view, one) {
  const address = path`/api/v1/queues/${one.queue}`;
  const named = (verb) => ({ "data-key": `${verb} ${one.queue}`, "aria-label": `${verb}: ${one.queue}` });
  const waiting = one.pending + one.retrying + one.scheduled;
  return [
    one.paused ? button("Resume", () => view.act(() => post(`${address}/resume`), `${one.queue} goes on`), named("Resume"))
      : button("Pause", () => view.act(() => post(`${address}/pause`), `${one.queue} is paused: its jobs wait, running ones finish`), named("Pause")),
    button("Purge", () => confirm({ title: `Purge ${one.queue}?`, verb: `Remove ${number(waiting)} jobs`,
      text: `About ${number(waiting)} waiting jobs are removed for good. Running ones go on.`,
      deed: async () => { await remove(`${address}/jobs`); toast(`${one.queue} was purged`); view.refresh(); } }), { class: "danger", disabled: waiting === 0, ...named("Purge") }),
  ];
}
