// A JSON value to read: indented, its kinds told apart by colour and form, long ones cut with a word about it.
import { h } from "./dom.js";

const CHARS_MAX = 200_000;
const TOKENS = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;

export function jsonView(value, label) {
  const text = JSON.stringify(value, null, 2) ?? "null";
  const shown = text.slice(0, CHARS_MAX);
  const rest = text.length - shown.length;
  return h("pre", { class: "json", tabindex: 0, role: "region", "aria-label": label }, coloured(shown),
    rest > 0 && `\n… ${rest} more characters; the API has them all`);
}

function coloured(text) {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(TOKENS)) {
    parts.push(text.slice(from, match.index), ...spans(match));
    from = match.index + match[0].length;
  }
  parts.push(text.slice(from));
  return parts;
}

function spans([whole, string, colon, word]) {
  if (string && colon !== undefined) return [h("span", { class: "j-key" }, string), colon];
  const kind = string ? "j-text" : word ? "j-word" : "j-number";
  return [h("span", { class: kind }, whole)];
}
