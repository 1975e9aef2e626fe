// Who did what and when. The newest first, for admins.
import { get } from "./api.js";
import { h, show } from "./dom.js";
import { ago } from "./format.js";
import { badge, code, empty, heading } from "./parts.js";
import { to } from "./router.js";
import { table } from "./table.js";

const LIMIT = 100;
const SUBJECT_CHARS = 120; // Longer ones are cut after two lines, and whole in the title.

export function audit(view) {
  const { cursor } = view.place.query;
  const list = table({ label: "Audit", key: (one) => one.id, empty: none, columns: [
    { title: "When", cell: (one) => ago(one.at) },
    { title: "Who", kind: "main", cell: (one) => h("strong", {}, one.who || "nobody") },
    { title: "What", cell: (one) => badge(one.what, "plain") },
    { title: "Of", kind: "grow", cell: (one) => [h("span", { class: "two-lines", title: one.subject.length > SUBJECT_CHARS ? one.subject : null }, one.subject), details(one.data)] },
    { title: "From", cell: (one) => one.origin || "–" },
    { title: "Node", cell: (one) => one.node },
  ] });
  const pages = h("div", { class: "row pages" });
  view.keep(async (signal) => {
    const page = await get("/api/v1/audit", { limit: LIMIT, cursor }, signal);
    list.draw(page.items);
    show(pages, cursor && h("a", { class: "button", href: to(["audit"]) }, "Newest"), page.cursor && h("a", { class: "button", href: to(["audit"], { cursor: page.cursor }) }, "Older"));
    view.hasContent = true;
  }, cursor ? {} : { everyMs: 5000 });
  return [heading("Audit", "What operators did, and logins; kept for EVENTS_TTL"), list.element, pages];
}

function details(data) {
  const text = data && Object.keys(data).length ? JSON.stringify(data) : "";
  return text && h("small", { class: "one-line" }, code(text));
}

const none = () => empty("Nothing yet.", "Pausing, purging, draining, deleting and logging in are written down here.");
