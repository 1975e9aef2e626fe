// Numbers, times and sizes as people read them.
import { h } from "./dom.js";

const whole = new Intl.NumberFormat("en");
const oneDigit = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const number = (value) => (value === null || value === undefined ? "–" : whole.format(value));

/** A rate per second: `0`, `0.2`, `12.5`, `1,204`. */
export function rate(value) {
  if (value === null || value === undefined) return "–";
  if (value > 0 && value < 0.1) return value.toPrecision(1);
  return value < 100 ? oneDigit.format(value) : whole.format(Math.round(value));
}

const SPANS = [[86400, "d"], [3600, "h"], [60, "m"]];

/** Seconds as `740 ms`, `3.2 s`, `4 m 10 s`, `2 h 5 m`, `3 d 4 h`. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds > 0 && seconds < 0.001) return "< 1 ms";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${oneDigit.format(seconds)} s`;
  const at = SPANS.findIndex(([length]) => seconds >= length);
  const [length, unit] = SPANS[at];
  const [below, belowUnit] = SPANS[at + 1] ?? [1, "s"];
  const rest = Math.floor((seconds % length) / below);
  return `${Math.floor(seconds / length)} ${unit}${rest ? ` ${rest} ${belowUnit}` : ""}`;
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const at = value < 1024 ? 0 : Math.min(3, Math.floor(Math.log2(value) / 10));
  return `${oneDigit.format(value / 1024 ** at)} ${["B", "KiB", "MiB", "GiB"][at]}`;
}

/** Between two times as the API writes them, in seconds; to now when there is no end yet. */
export const between = (start, end) => (start ? (Date.parse(end ?? new Date().toISOString()) - Date.parse(start)) / 1000 : null);

export const atClock = (ms) => clock.format(ms);

/** Of an id, the part that tells the time and the part that tells two of one moment apart. */
export const shortId = (id) => `${id.slice(0, 8)}…${id.slice(-4)}`;

/** `12 s ago`, `in 5 m`: the absolute time is in the title, and the text follows the clock. */
export function ago(at, otherwise = "–") {
  if (!at) return otherwise;
  const element = h("time", { datetime: at, title: `${absolute.format(Date.parse(at))} (${at})` });
  element.textContent = relative(at);
  return element;
}

function relative(at) {
  const seconds = (Date.now() - Date.parse(at)) / 1000;
  if (Math.abs(seconds) < 1.5) return "now";
  const rough = roughly(Math.abs(seconds));
  return seconds > 0 ? `${rough} ago` : `in ${rough}`;
}

/** Nobody wants a list in which every second everything moves: seconds only within the first minute. */
function roughly(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} m` : span(seconds);
}

setInterval(() => {
  for (const element of document.querySelectorAll("time[datetime]")) {
    const text = relative(element.dateTime);
    if (element.textContent !== text) element.textContent = text;
  }
}, 1000);
