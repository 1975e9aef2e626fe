// What the node tells by itself: one stream of server-sent events for the whole page, the last figures, and whether it still speaks.
//
//     open ──► (hears) ──► quiet for QUIET_MS, error, closed ──► again after RETRY_MS ──► ...
//
// A hidden page closes its stream: browsers allow six connections to one place, and a forgotten tab should cost a node nothing.

const RETRY_MS = 2000;
const QUIET_MS = 45_000; // The node sends its figures at least every 15 s.
const PATIENCE_MS = 1200; // A stream that comes back sooner is not worth a banner.
const SAMPLES_MAX = 900; // At one figure every 2 s: half an hour.
const KINDS = ["stats", "jobs", "leader"];
const STORED = "zjp.samples";

const listeners = new Map();
let source = null;
let again = 0;
let alarm = 0;
let quiet = 0;
let isDown = false;
let isWanted = false;

export const state = { stats: null, samples: restored() };

/** `kind`: stats, jobs, leader, or connection (with true or false). Until `signal` is aborted. */
export function on(kind, listener, signal) {
  const all = listeners.get(kind) ?? listeners.set(kind, new Set()).get(kind);
  all.add(listener);
  signal?.addEventListener("abort", () => all.delete(listener));
}

const tell = (kind, data) => [...(listeners.get(kind) ?? [])].forEach((listener) => listener(data));

export function start() {
  isWanted = true;
  open();
}

export function stop() {
  isWanted = false;
  clearTimeout(alarm);
  alarm = 0;
  close();
}

function open() {
  close();
  if (document.hidden) return;
  source = new EventSource("/api/v1/events");
  source.onopen = heard;
  source.onerror = lost;
  for (const kind of KINDS) source.addEventListener(kind, (event) => take(kind, event.data));
}

function close() {
  clearTimeout(again);
  clearTimeout(quiet);
  source?.close();
  source = null;
}

export function seen(stats) {
  state.stats = stats;
  const at = Date.parse(stats.at);
  if (state.samples.length && at <= state.samples.at(-1).at) return;
  const { pending, retrying, running } = stats.totals;
  state.samples.push({ at, done: stats.throughput["1m"], failed: stats.failures["1m"], waiting: pending, retrying, running });
  state.samples.splice(0, state.samples.length - SAMPLES_MAX);
  sessionStorage.setItem(STORED, JSON.stringify(state.samples));
}

function take(kind, text) {
  heard();
  const data = JSON.parse(text);
  if (kind === "stats") seen(data);
  tell(kind, data);
}

function heard() {
  clearTimeout(quiet);
  quiet = setTimeout(lost, QUIET_MS);
  clearTimeout(alarm);
  alarm = 0;
  if (isDown) tell("connection", true);
  isDown = false;
}

function lost() {
  close();
  again = setTimeout(open, RETRY_MS);
  alarm ||= setTimeout(down, PATIENCE_MS);
}

function down() {
  isDown = true;
  tell("connection", false);
}

function restored() {
  try {
    const samples = JSON.parse(sessionStorage.getItem(STORED)) ?? [];
    return samples.filter((one) => one.at > Date.now() - 3600_000);
  } catch {
    return [];
  }
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(alarm);
  alarm = 0;
  if (document.hidden) close();
  else if (isWanted) open();
});
