// Keyboard shortcuts. Letters alone are a hazard for who speaks to the machine, so they can be turned off (and the choice is kept).
import { tell } from "./dialog.js";
import { h } from "./dom.js";
import { go } from "./router.js";

const OFF = "zjp.keys";
const WAIT_MS = 1200; // For the letter after g.

const isOn = () => localStorage.getItem(OFF) !== "off";
let isGoing = false;

/** `pages`: rows with `letter`; `refresh()` loads the present page again. */
export function listen(pages, refresh) {
  document.addEventListener("keydown", (event) => {
    if (!isOn() || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
    if (isGoing) return jump(pages, event);
    const deed = { g: wait, "?": () => help(pages), "/": search, t: () => document.getElementById("theme")?.click(), r: refresh, j: () => step(1), k: () => step(-1), x: pick }[event.key];
    if (!deed) return;
    event.preventDefault();
    deed();
  });
}

const isTyping = (element) => element.matches("input:not([type=checkbox]), textarea, select, [contenteditable]");

function wait() {
  isGoing = true;
  setTimeout(() => { isGoing = false; }, WAIT_MS);
}

function jump(pages, event) {
  isGoing = false;
  const page = pages.find((one) => one.letter === event.key);
  if (page) go(page.path);
}

function search() {
  document.querySelector("main [data-search]")?.focus();
}

/** To the next or the last row of the list: its main link has the focus. */
function step(by) {
  const links = [...document.querySelectorAll("main tbody tr")].map((row) => row.querySelector("a, button")).filter(Boolean);
  const at = links.findIndex((link) => link.closest("tr").contains(document.activeElement));
  links[Math.max(0, Math.min(links.length - 1, at + by))]?.focus();
}

function pick() {
  document.activeElement.closest("tr")?.querySelector(".pick input")?.click();
}

export function help(pages) {
  const rows = [["?", "this list"], ["/", "to the first filter"], ["j  k", "next, previous row"], ["Enter", "open the row"], ["x", "select the row"],
    ["r", "load again"], ["t", "dark or light"], ["Esc", "close a dialog"], ...pages.filter((page) => page.letter).map((page) => [`g ${page.letter}`, page.title])];
  const box = h("input", { type: "checkbox", checked: isOn(), onchange: () => localStorage.setItem(OFF, box.checked ? "on" : "off") });
  tell("Keyboard shortcuts", h("dl", { class: "keys" }, rows.map(([keys, text]) => h("div", {}, h("dt", {}, keys.split(/ +/).map((key) => h("kbd", {}, key))), h("dd", {}, text)))),
    h("label", { class: "check" }, box, "Use single letters as shortcuts"));
}
