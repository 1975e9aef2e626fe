// Pieces that many pages show.
import { h, s } from "./dom.js";
import { to } from "./router.js";

export const badge = (word, kind = word) => h("span", { class: `badge is-${kind}` }, word);

/** `tools`: at its right; a title is a heading of the second level. */
export function panel(title, { tools = [], kind = "" } = {}, ...content) {
  return h("section", { class: `panel ${kind}` }, h("div", { class: "panel-head" }, h("h2", {}, title), h("div", { class: "row" }, tools)), content);
}

export function heading(title, note, ...tools) {
  return h("div", { class: "heading" }, h("div", {}, h("h1", {}, title), note && h("p", { class: "note" }, note)), h("div", { class: "row" }, tools));
}

export const empty = (title, ...what) => [h("strong", {}, title), h("p", {}, what)];

export const button = (text, onclick, props = {}) => h("button", { type: "button", onclick, "data-key": text, ...props }, text);

export const jobLink = (id, text = id) => h("a", { href: to(["jobs", id]), "data-key": id }, text);

export const code = (text) => h("code", {}, text);

/** `pairs`: [[name, what], ...]; those without a value are left out. */
export function facts(pairs) {
  const there = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
  return h("dl", { class: "facts" }, there.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** Parts of a whole as one bar. `parts`: [[value, kind], ...]; the words stand beside it, so the bar itself is left out for readers. */
export function bar(parts, whole = parts.reduce((sum, [value]) => sum + value, 0)) {
  let x = 0;
  const pieces = parts.filter(([value]) => value > 0).map(([value, kind]) => {
    const width = whole ? Math.max(0.6, (100 * value) / whole) : 0;
    const piece = s("rect", { x, y: 0, width, height: 8, class: `fill-${kind}` });
    x += width;
    return piece;
  });
  return s("svg", { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { x: 0, y: 0, width: 100, height: 8, class: "fill-none" }), pieces);
}
