// What to do with a node that has no jobs yet.
import { h } from "./dom.js";
import { button, panel } from "./parts.js";
import { copy } from "./toast.js";

export function firstSteps() {
  const ways = [
    ["On the command line", `zjp submit email recipient=a@example.com subject=hi`],
    ["Over HTTP", `curl -X POST ${location.origin}/api/v1/jobs -H 'Content-Type: application/json' \\\n  -d '{"type": "email", "payload": {"recipient": "a@example.com", "subject": "hi"}}'`],
  ];
  return panel("No jobs yet: submit the first one", { kind: "first" }, ways.map(([title, text]) => h("div", { class: "stack" },
    h("div", { class: "bars-head" }, h("h3", {}, title), button("Copy", () => copy(text, "The command"), { class: "quiet", "aria-label": `Copy: ${title}` })), h("pre", { class: "code", tabindex: 0, role: "region", "aria-label": title }, text))));
}
