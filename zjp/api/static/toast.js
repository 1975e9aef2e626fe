// Short words about what was done. Read aloud by screen readers, gone by themselves; problems stay longer.
import { h } from "./dom.js";

const STAYS_MS = { good: 5000, bad: 12_000 };

export function toast(text, kind = "good") {
  const element = h("div", { class: `toast ${kind}` }, h("span", {}, text),
    h("button", { class: "quiet", type: "button", "aria-label": "Close message", onclick: () => element.remove() }, "×"));
  document.getElementById("toasts").append(element);
  setTimeout(() => element.remove(), STAYS_MS[kind]);
}

export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied`);
  } catch {
    const { tell } = await import("./dialog.js");
    tell(`${what}: select and copy`, h("textarea", { class: "code", readonly: true, rows: 8, "aria-label": what, value: text }));
  }
}
