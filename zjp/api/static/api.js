// Asking the HTTP API. Every problem, also that nobody answers, becomes a Problem with a text for people.
import { parse } from "./exact_json.js";

/** `status` 0: nobody answered. `detail`: what and what to do. `members`: further ones of the problem document. */
export class Problem extends Error {
  constructor(status, title, detail, members = {}) {
    super(detail || title);
    Object.assign(this, { status, title, detail, members });
  }
}

let csrf = "";
let onSignedOut = () => {};

/** The token that unsafe requests of a browser session carry. */
export const setCsrf = (token) => { csrf = token ?? ""; };

/** `listener` hears that a request needed a login. */
export const whenSignedOut = (listener) => { onSignedOut = listener; };

export const get = (path, query, signal) => ask("GET", withQuery(path, query), undefined, signal);
export const post = (path, body) => ask("POST", path, body);
export const patch = (path, body) => ask("PATCH", path, body);
export const remove = (path) => ask("DELETE", path);

/** Parts of a path as they must stand in it. */
export const path = (parts, ...values) => parts.reduce((all, part, at) => all + encodeURIComponent(values[at - 1]) + part);

export function withQuery(address, query) {
  const parts = new URLSearchParams(Object.entries(query ?? {}).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  return parts.size ? `${address}?${parts}` : address;
}

async function ask(method, address, body, signal) {
  const response = await reached(address, {
    method, signal, cache: "no-store", credentials: "same-origin", redirect: "error",
    headers: headers(method, body), body: body === undefined ? undefined : JSON.stringify(body),
  });
  const answer = await content(response);
  if (response.ok) return answer;
  if (response.status === 401 && !address.startsWith("/auth/")) onSignedOut();
  throw problem(response, answer);
}

function headers(method, body) {
  const all = { Accept: "application/json" };
  if (body !== undefined) all["Content-Type"] = "application/json";
  if (method !== "GET" && csrf) all["X-CSRF-Token"] = csrf;
  return all;
}

async function reached(address, request) {
  try {
    return await fetch(address, request);
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new Problem(0, "No answer", "The node does not answer. This page goes on trying.");
  }
}

async function content(response) {
  const text = await response.text();
  try {
    return text ? parse(text) : null;
  } catch {
    throw new Problem(response.status, "Not JSON", `The answer (status ${response.status}) is not JSON; is there a proxy in between?`);
  }
}

function problem(response, answer) {
  const { title, detail, ...members } = answer ?? {};
  const wait = response.headers.get("Retry-After");
  const text = detail || title || `The node answered ${response.status}.`;
  return new Problem(response.status, title ?? "", wait ? `${text} Try again in ${wait} s.` : text, members);
}
