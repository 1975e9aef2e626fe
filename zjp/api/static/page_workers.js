// Every worker process of every node: what it does now, what it did, how much memory it has.
import { get } from "./api.js";
import { h, show } from "./dom.js";
import { ago, bytes, number, shortId } from "./format.js";
import { badge, bar, code, empty, heading, jobLink } from "./parts.js";
import { table } from "./table.js";

const CURRENT_SHOWN = 4;
const KINDS = { ready: "completed", starting: "scheduled", stopping: "cancelling", dead: "failed" };

export function workers(view) {
  const note = h("p", { class: "note" });
  const list = table({ label: "Workers", key: (one) => `${one.node} ${one.name} ${one.pid}`, empty: none, columns: [
    { title: "Worker", kind: "main", cell: (one) => [h("strong", {}, one.name), h("small", {}, `pid ${one.pid}`)] },
    { title: "Node", cell: (one) => one.node },
    { title: "State", cell: (one) => badge(one.state, KINDS[one.state] ?? "cancelled") },
    { title: "Slots", cell: (one) => [`${one.busy} of ${one.slots} busy`, bar([[one.busy, "running"]], Math.max(one.slots, one.busy))] },
    { title: "Now", kind: "grow", cell: current },
    { title: "Done", kind: "num", cell: (one) => number(one.done) },
    { title: "Failed", kind: "num", cell: (one) => number(one.failed) },
    { title: "Memory", kind: "num", cell: (one) => bytes(one.rss_bytes) },
    { title: "Started", cell: (one) => ago(one.started_at) },
  ] });
  view.keep(async (signal) => {
    const { items } = await get("/api/v1/workers", {}, signal);
    list.draw(items);
    const [busy, slots] = ["busy", "slots"].map((name) => items.reduce((sum, one) => sum + one[name], 0));
    show(note, `${items.length} processes, ${busy} of ${slots} slots busy`);
    view.hasContent = true;
  }, { everyMs: 3000 });
  const title = heading("Workers", "");
  title.firstChild.append(note);
  return [title, list.element];
}

function current({ current: ids }) {
  if (!ids?.length) return h("span", { class: "note" }, "idle");
  return [ids.slice(0, CURRENT_SHOWN).map((id, at) => [at > 0 && ", ", h("span", { class: "id" }, jobLink(id, shortId(id)))]), ids.length > CURRENT_SHOWN && ` and ${ids.length - CURRENT_SHOWN} more`];
}

const none = () => empty("No worker process.", "A node without an application runs no jobs. Start it with one: ", code("zjp node --app module:app"), ".");
