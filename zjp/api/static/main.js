// The dashboard: which pages there are, who may open them, and what is shown now.
import { whenSignedOut } from "./api.js";
import { h, show } from "./dom.js";
import * as keys from "./keys.js";
import * as live from "./live.js";
import { empty } from "./parts.js";
import { place } from "./router.js";
import * as session from "./session.js";
import { attentionCount, drawTop, watchConnection } from "./shell.js";
import { View } from "./view.js";
import { account, login } from "./page_account.js";
import { audit } from "./page_audit.js";
import { cluster } from "./page_cluster.js";
import { failed } from "./page_failed.js";
import { job } from "./page_job.js";
import { jobs } from "./page_jobs.js";
import { overview } from "./page_overview.js";
import { queues } from "./page_queues.js";
import { scheduled } from "./page_scheduled.js";
import { users } from "./page_users.js";
import { workers } from "./page_workers.js";

/** `path`: the first part of the address. `role`: the least one. `letter`: after g. `make(view)` returns the content. */
const PAGES = [
  { path: [], title: "Overview", icon: "overview", letter: "o", nav: true, make: overview, tail: attentionCount },
  { path: ["jobs"], title: "Jobs", icon: "jobs", letter: "j", nav: true, make: jobs },
  { path: ["failed"], title: "Failed", icon: "failed", letter: "f", nav: true, make: failed },
  { path: ["scheduled"], title: "Scheduled", icon: "scheduled", letter: "s", nav: true, make: scheduled },
  { path: ["queues"], title: "Queues", icon: "queues", letter: "q", nav: true, make: queues },
  { path: ["workers"], title: "Workers", icon: "workers", letter: "w", nav: true, role: "admin", make: workers },
  { path: ["cluster"], title: "Cluster", icon: "cluster", letter: "c", nav: true, make: cluster },
  { path: ["audit"], title: "Audit", icon: "audit", letter: "a", nav: true, role: "admin", make: audit },
  { path: ["users"], title: "Users", icon: "users", letter: "u", nav: true, role: "admin", make: users },
  { path: ["account"], title: "Account", make: account },
];
const JOB = { path: ["jobs"], title: "Job", make: job };
const LOGIN = { path: ["login"], title: "Log in", make: login };

let view = null;
let shown = "";

function pageAt({ parts }) {
  if (!session.isSignedIn()) return LOGIN;
  if (parts[0] === "jobs" && parts.length === 2) return JOB;
  return PAGES.find((page) => page.path.join("/") === parts.join("/")) ?? null;
}

function draw() {
  const here = place();
  const page = pageAt(here);
  const address = page === LOGIN ? "login" : here.parts.join("/");
  const isSame = address === shown;
  shown = address;
  view?.end();
  view = new View(here);
  view.entered = entered;
  const main = document.getElementById("main");
  drawTop(PAGES, page === JOB ? PAGES[1] : page, { help: () => keys.help(PAGES), signedOut });
  document.body.classList.toggle("is-login", page === LOGIN);
  document.title = page ? `${page.title} · zjp` : "zjp";
  show(main, view.fault, content(page));
  if (view.isBusy) main.setAttribute("aria-busy", "true");
  else main.removeAttribute("aria-busy");
  if (!isSame) { scrollTo(0, 0); main.focus({ preventScroll: true }); }
}

function content(page) {
  if (!page) return [h("h1", {}, "Not here"), h("div", { class: "empty" }, empty("There is no such page.", h("a", { href: "#/" }, "To the overview")))];
  if (!session.may(page.role) && page !== LOGIN) {
    return [h("h1", {}, page.title), h("div", { class: "empty" }, empty(`This page is for the role ${page.role}.`, `You are ${session.me.name}, ${session.me.role}.`))];
  }
  return page.make(view);
}

function entered() {
  live.start();
  shown = "";
  draw();
}

function signedOut() {
  live.stop();
  session.forget();
  draw();
}

async function begin() {
  watchConnection();
  keys.listen(PAGES, () => view?.refresh());
  whenSignedOut(signedOut);
  try {
    await session.look();
    live.start();
  } catch (fault) {
    if (fault.status !== 401) return wait(fault);
  }
  addEventListener("hashchange", draw);
  draw();
}

/** The node was there a moment ago, it sent this page: try again. */
function wait(fault) {
  show(document.getElementById("main"), h("h1", {}, "zjp"), h("p", { class: "fault", role: "alert" }, fault.message));
  setTimeout(begin, 2000);
}

begin();
