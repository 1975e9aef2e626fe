// A job as a command or a program that submits the same.
import { digits } from "./exact_json.js";

export function asCurl(job) {
  const lines = [`curl -X POST ${location.origin}/api/v1/jobs`, `-H 'Content-Type: application/json'`, `-d ${shellQuoted(JSON.stringify(submitBody(job)))}`];
  return lines.join(" \\\n  ");
}

export function asPython(job) {
  const { type, payload, ...options } = submitBody(job);
  const rest = Object.entries(options).map(([name, value]) => `, ${name}=${literal(value)}`).join("");
  return `from zjp import Client\n\nwith Client(${literal(location.origin)}) as zjp:\n    job = zjp.submit(${literal(type)}, ${literal(payload)}${rest})\n`
    + `    print(job.wait(timeout=30).result)\n`;
}

/** What POST /api/v1/jobs takes, to have the same job once more; what it left open stays open. */
export function submitBody(job) {
  const body = { type: job.type, payload: job.payload ?? {}, queue: job.queue, priority: job.priority };
  if (job.max_retries !== null) body.max_retries = job.max_retries;
  if (job.timeout !== null) body.timeout = job.timeout;
  if (job.tags.length) body.tags = job.tags.filter((tag) => !tag.startsWith("schedule:"));
  if (body.tags?.length === 0) delete body.tags;
  return body;
}

const shellQuoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

const WORDS = new Map([[true, "True"], [false, "False"], [null, "None"]]);

/** A JSON value as Python writes it. */
function literal(value) {
  if (WORDS.has(value)) return WORDS.get(value);
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (digits(value)) return digits(value);
  if (typeof value === "object") return `{${Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${literal(item)}`).join(", ")}}`;
  return JSON.stringify(value); // JSON's numbers and strings are Python's too
}
