// Failed jobs by type and error: what to look at first. A group leads to its jobs, and each of them to its traceback.
import { get, post } from "./api.js";
import { confirm } from "./dialog.js";
import { h, region } from "./dom.js";
import { ago, number, shortId } from "./format.js";
import { badge, button, empty, heading, jobLink } from "./parts.js";
import { refine, to } from "./router.js";
import { may } from "./session.js";
import { toast } from "./toast.js";

const SINCE = [["", "all that are kept"], ["3600", "the last hour"], ["86400", "the last day"], ["604800", "the last week"]];

export function failed(view) {
  const seconds = view.place.query.since ?? "";
  const groups = region("div", { class: "stack" }, (page) => drawGroups(view, page));
  const choice = h("select", { "aria-label": "Finished in", "data-search": true, onchange: () => refine(choice.value ? { since: choice.value } : {}) },
    SINCE.map(([value, text]) => h("option", { value, selected: value === seconds }, text)));

  view.keep(async (signal) => {
    const since = seconds ? new Date(Date.now() - Number(seconds) * 1000).toISOString() : "";
    groups.draw(await get("/api/v1/failures", { since, limit: 100 }, signal));
    view.hasContent = true;
  }, { kinds: ["jobs"], cares: (data) => data.left_out > 0 || data.happened.some((one) => one.state === "failed"), everyMs: 15_000 });

  return [heading("Failed", "Jobs that failed for good, by type and error; the most frequent first", choice), groups.element];
}

function drawGroups(view, { items, scanned, is_whole: isWhole }) {
  if (items.length === 0) return h("div", { class: "empty" }, empty("Nothing has failed.", "A job fails for good when its retries are spent, or when its task says that no retry can help."));
  return [h("ul", { class: "groups" }, items.map((group) => drawGroup(view, group))),
    h("p", { class: "note" }, `${number(items.reduce((sum, group) => sum + group.count, 0))} failed jobs${isWhole ? "." : `, of the newest ${number(scanned)} that were looked at.`}`)];
}

function drawGroup(view, group) {
  return h("li", { class: "panel bad" },
    h("div", { class: "panel-head" }, h("h2", {}, h("a", { href: to(["jobs"], { status: "failed", type: group.type, error: group.error }), "data-key": `${group.type} ${group.error}` }, group.type), " ", badge(group.error || "no type", "failed")),
      h("div", { class: "row" }, h("strong", { class: "figure" }, number(group.count)), may("user") && button("Run these again", () => again(view, group), { "data-key": `again ${group.type} ${group.error}` }))),
    h("p", { class: "error-line" }, group.message || "without a message"),
    h("p", { class: "note" }, "last ", ago(group.last_at), group.count > 1 && [", first ", ago(group.first_at)], " · newest: ",
      group.jobs.map((id, at) => [at > 0 && ", ", h("span", { class: "id" }, jobLink(id, shortId(id)))])));
}

/** All of the group, as many as there are by then. */
function again(view, group) {
  const count = `${number(group.count)} ${group.count === 1 ? "job" : "jobs"}`;
  confirm({ title: `Run again: ${count}?`, verb: `Run ${count} again`, isDanger: false,
    text: `Those of type ${group.type} that failed with ${group.error}. They keep their ids; run them when the cause is gone.`,
    deed: async () => {
      const asked = { action: "retry", filter: { status: "failed", type: group.type, error: group.error } };
      const { matched } = await post("/api/v1/jobs/bulk", { ...asked, dry_run: true });
      const { done } = await post("/api/v1/jobs/bulk", { ...asked, expected_count: matched });
      toast(`${done} run again`);
      view.refresh();
    } });
}
