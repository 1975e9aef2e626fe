// Who led when, as one band over time: a piece for each time in office, gaps where nobody led.
import { h, s } from "./dom.js";
import { ago } from "./format.js";

const COLOURS = 6;
const WIDTH_MIN = 0.4;

/** `history`: newest first, as the API has it. */
export function leaderRibbon(history) {
  const terms = inOffice([...history].reverse());
  if (terms.length < 1) return [];
  const start = terms[0].from;
  const end = Date.now();
  const names = [...new Set(terms.map((one) => one.node))];
  const percent = (at) => (100 * (at - start)) / Math.max(1, end - start);
  const pieces = terms.map((one) => s("rect", { class: `lead-${names.indexOf(one.node) % COLOURS}`, y: 0, height: 14, x: `${percent(one.from)}%`, width: `${Math.max(WIDTH_MIN, percent(one.until ?? end) - percent(one.from))}%` }));
  return h("figure", { class: "ribbon" }, s("svg", { role: "img", width: "100%", height: 14, "aria-label": terms.map((one) => `${one.node} in epoch ${one.epoch}`).join(", then ") },
    s("rect", { class: "fill-none", width: "100%", height: 14 }), pieces),
  h("figcaption", {}, h("span", {}, ago(new Date(start).toISOString())), h("span", { class: "row" }, names.map((name, at) => h("span", { class: "legend-one" }, h("i", { class: `dot lead-${at % COLOURS}` }), name))), h("span", {}, "now")));
}

/** Oldest first: [{ node, epoch, from, until }]. */
function inOffice(changes) {
  const terms = [];
  for (const { at, kind, node, epoch } of changes) {
    const now = Date.parse(at);
    const last = terms.at(-1);
    const isOpen = last && last.until === null;
    if (kind === "leader_lost" && isOpen) last.until = now;
    if (kind !== "leader_elected") continue;
    if (isOpen && last.node === node && last.epoch === epoch) continue;
    if (isOpen) last.until = now;
    terms.push({ node, epoch, from: now, until: null });
  }
  return terms;
}
