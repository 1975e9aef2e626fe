// Where the page is: `#/jobs/ID?status=failed`. Everything after the hash, so the server has one page; the filters of a list stand in it.
import { withQuery } from "./api.js";

/** `parts`: of the path, decoded; `query`: a map. */
export function place() {
  const [path, query] = (location.hash.slice(1) || "/").split("?");
  return { parts: path.split("/").filter(Boolean).map(decoded), query: Object.fromEntries(new URLSearchParams(query)) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** A link within the page: `to(["jobs", id])`, `to(["jobs"], { status: "failed" })`. */
export const to = (parts, query) => `#${withQuery(`/${parts.map(encodeURIComponent).join("/")}`, query)}`;

export function go(parts, query) {
  location.hash = to(parts, query);
}

/** Another query of the same page; not a step for the browser's back button. */
export function refine(query) {
  history.replaceState(null, "", to(place().parts, query));
  dispatchEvent(new HashChangeEvent("hashchange"));
}
