// What stands around every page: the navigation, the theme, the account, the banner when the node is silent.
import { h, show } from "./dom.js";
import { icon, logo } from "./icons.js";
import { on, state } from "./live.js";
import { isSignedIn, may, me, signOut } from "./session.js";
import { to } from "./router.js";

const THEMES = { "": "dark", light: "dark", dark: "light" };

/** `pages`: rows of main.js. `help` opens the list of keys. */
export function drawTop(pages, current, { help, signedOut }) {
  const isOpen = "menu-open";
  const menu = h("nav", { id: "menu", "aria-label": "Main" }, isSignedIn() && h("ul", {}, pages.filter((page) => page.nav && may(page.role)).map((page) =>
    h("li", {}, h("a", { href: to(page.path), "aria-current": page === current ? "page" : null, "data-key": page.title }, icon(page.icon), page.title, page.tail?.())))));
  const toggle = h("button", { class: "quiet menu-button", type: "button", "aria-expanded": "false", "aria-controls": "menu", "aria-label": "Menu",
    onclick: () => toggle.setAttribute("aria-expanded", String(top.classList.toggle(isOpen))) }, icon("menu"));
  const top = document.getElementById("top");
  top.classList.remove(isOpen);
  show(top, h("div", { class: "top-row" }, h("a", { class: "brand", href: "#/", "aria-label": "zjp, overview" }, logo(), h("span", {}, "zjp")), toggle),
    menu, h("div", { class: "foot" }, who(signedOut), h("div", { class: "row" }, themeSwitch(), helpButton(help))));
}

function who(signedOut) {
  if (!isSignedIn()) return null;
  if (!me.auth) return h("p", { class: "who" }, h("small", {}, "No login asked for: everybody on this machine may do everything"));
  const leave = async () => { await signOut().catch(() => {}); signedOut(); };
  return h("div", { class: "who" }, h("a", { href: to(["account"]) }, me.name), h("small", {}, me.role), h("button", { class: "quiet", type: "button", onclick: leave }, "Log out"));
}

function themeSwitch() {
  const isDark = () => getComputedStyle(document.documentElement).colorScheme === "dark" || (!chosen() && matchMedia("(prefers-color-scheme: dark)").matches);
  const chosen = () => document.documentElement.dataset.theme ?? "";
  const one = h("button", { class: "quiet", type: "button", id: "theme", onclick: () => {
    const next = chosen() ? THEMES[chosen()] : isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem("zjp.theme", next);
    word();
  } });
  const word = () => { const next = isDark() ? "light" : "dark"; one.setAttribute("aria-label", `Use the ${next} theme`); one.title = `Use the ${next} theme`; show(one, icon(next)); };
  word();
  return one;
}

const helpButton = (help) => h("button", { class: "quiet", type: "button", "aria-label": "Keyboard shortcuts", title: "Keyboard shortcuts (?)", onclick: help }, icon("help"));

/** Shows and takes away the banner; the tab's title tells the name of the node. */
export function watchConnection() {
  const banner = document.getElementById("banner");
  on("connection", (isUp) => {
    banner.hidden = isUp;
    show(banner, isUp ? "" : "Disconnected: the node does not answer. Trying again…");
  });
  on("stats", (stats) => show(document.getElementById("attention") ?? h("i"), attention(stats) || ""));
}

/** How many things on the overview ask for a look. */
const attention = (stats) => alarms(stats).length;

export const attentionCount = () => h("span", { class: "count", id: "attention" }, state.stats ? attention(state.stats) || "" : "");

const OLD_S = 60;
const BACKLOG_MAX = 10_000;

/** What somebody should look at now, as sentences, worst first. */
export function alarms(stats) {
  const old = stats.queues.filter((queue) => queue.oldest_seconds > OLD_S && !queue.paused);
  const paused = stats.queues.filter((queue) => queue.paused && queue.pending > 0);
  const said = [
    [!stats.leader, "No leader: scheduled and periodic jobs wait until one is chosen. Jobs that are due run on."],
    [stats.nodes.alive < stats.nodes.total, `${stats.nodes.total - stats.nodes.alive} of ${stats.nodes.total} nodes do not answer.`],
    [stats.workers.total === 0, "This node has no worker process: started without an app it runs no jobs (--app module:app)."],
    [stats.is_draining, "This node drains: it takes no more jobs."],
    [stats.backlog > BACKLOG_MAX, `${stats.backlog} finished jobs wait for the records: is their store away?`],
    ...old.map((queue) => [true, `Queue ${queue.queue}: the oldest job has been waiting for ${Math.round(queue.oldest_seconds)} s.`]),
    ...paused.map((queue) => [true, `Queue ${queue.queue} is paused with ${queue.pending} jobs in it.`]),
  ];
  return said.filter(([isSo]) => isSo).map(([, text]) => text);
}
