// Deeds on many jobs: on those that are selected, or on all that match the filter, whose number is asked for first and sent along.
import { post } from "./api.js";
import { confirm } from "./dialog.js";
import { h, show } from "./dom.js";
import { button } from "./parts.js";
import { may } from "./session.js";
import { toast } from "./toast.js";

const DEEDS = [
  { action: "retry", verb: "Run again", text: "They run once more under the same ids; those that are not finished stay as they are." },
  { action: "cancel", verb: "Cancel", text: "Waiting ones never start; running ones are told to stop, then killed.", isDanger: true },
  { action: "delete", verb: "Delete", text: "They are cancelled when not finished, and their records are gone for good.", isDanger: true, role: "admin" },
];

export function bulkBar({ view, picked, filter, canFilter, clear }) {
  const element = h("div", { class: "bulk", role: "group", "aria-label": "Actions on many jobs" });
  let isAll = false;

  function draw() {
    if (picked.size > 0) isAll = false;
    element.classList.toggle("is-on", isAll || picked.size > 0);
    const nothing = canFilter ? "Select jobs, or" : "Select jobs to act on several at once";
    show(element, h("span", {}, isAll ? "All that match the filter:" : picked.size ? `${picked.size} selected:` : nothing),
      !isAll && picked.size === 0 && canFilter && button("all that match", () => { isAll = true; draw(); }, { class: "link" }),
      (isAll || picked.size > 0) && [DEEDS.filter((deed) => may(deed.role)).map((deed) => button(deed.verb, () => begin(deed), { class: deed.isDanger ? "danger" : "" })),
        button("Clear selection", () => { isAll = false; clear(); }, { class: "quiet" })]);
  }

  async function begin(deed) {
    const chosen = isAll ? { filter } : { ids: [...picked] };
    let count = picked.size;
    if (isAll) {
      const known = await view.act(async () => { ({ matched: count } = await post("/api/v1/jobs/bulk", { action: deed.action, ...chosen, dry_run: true })); });
      if (!known) return;
      if (count === 0) return toast("No job matches the filter.");
    }
    const jobs = `${count} ${count === 1 ? "job" : "jobs"}`;
    confirm({ title: `${deed.verb}: ${jobs}?`, text: deed.text, verb: `${deed.verb} ${jobs}`, isDanger: Boolean(deed.isDanger), deed: async () => {
      const done = await post("/api/v1/jobs/bulk", { action: deed.action, ...chosen, ...(isAll ? { expected_count: count } : {}) });
      toast(`${deed.verb}: ${summary(done)}`);
      isAll = false;
      clear();
      view.refresh();
    } });
  }

  draw();
  return { element, draw };
}

/** `3 cancelled, 1 finished`. */
function summary({ done, verdicts }) {
  const words = Object.entries(verdicts ?? {}).map(([word, count]) => `${count} ${word}`);
  return words.length ? words.join(", ") : `${done} done`;
}
