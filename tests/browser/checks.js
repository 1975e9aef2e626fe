// What a page must hold for everybody. Each check gives a list of findings; empty: all well.

function visible(element) {
  const box = element.getBoundingClientRect();
  return box.width > 0 && box.height > 0 && element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
}

const told = (element) => `${element.tagName.toLowerCase()}${element.id ? `#${element.id}` : ""}.${element.className.baseVal ?? element.className} "${(element.textContent ?? "").trim().slice(0, 40)}"`;

function nameOf(element) {
  const labelledBy = (element.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
  const labels = [...(element.labels ?? [])].map((label) => label.textContent).join(" ");
  return [element.getAttribute("aria-label"), labelledBy, labels, element.matches("input, select, textarea") ? "" : element.textContent, element.title].find((text) => text?.trim()) ?? "";
}

/** Whatever can be used has a name. */
function names() {
  return [...document.querySelectorAll("button, a[href], input, select, textarea, summary, [role=img], [role=region], nav, dialog, table")]
    .filter((element) => visible(element) && !nameOf(element).trim()).map((element) => `no name: ${told(element)}`);
}

/** Drawings are named or left out for readers; ids are there once; nothing meddles with the order of the focus. */
function structure() {
  const found = [];
  for (const drawing of document.querySelectorAll("svg")) {
    if (drawing.getAttribute("role") !== "img" && drawing.getAttribute("aria-hidden") !== "true") found.push(`drawing without a role: ${told(drawing)}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids.filter((one, at) => ids.indexOf(one) !== at))) found.push(`id twice: ${id}`);
  for (const element of document.querySelectorAll("[tabindex]")) if (element.tabIndex > 0) found.push(`tabindex: ${told(element)}`);
  for (const element of document.querySelectorAll("[style], style, script:not([src])")) found.push(`inline style or script: ${told(element)}`);
  for (const element of document.querySelectorAll("[aria-controls], [aria-describedby], [list]")) {
    const id = element.getAttribute("aria-controls") ?? element.getAttribute("aria-describedby") ?? element.getAttribute("list");
    if (!document.getElementById(id)) found.push(`points to nothing: ${id}`);
  }
  if (!document.documentElement.lang) found.push("no language");
  return found;
}

/** One main, one header, one h1, and no heading that skips a level. */
function outline() {
  const found = [];
  for (const [what, count] of [["main", 1], ["header", 1], ["h1", 1]]) {
    const all = [...document.querySelectorAll(what)].filter(visible).length;
    if (all !== count) found.push(`${all} times ${what}`);
  }
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    if (!visible(heading)) continue;
    const own = Number(heading.tagName[1]);
    if (own > level + 1) found.push(`heading skips a level: ${told(heading)}`);
    level = own;
  }
  return found;
}

function channels(text) {
  const numbers = text.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
  const scale = text.startsWith("color(") ? 255 : 1;
  const [red, green, blue, alpha = 1] = text.startsWith("color(srgb") ? numbers : numbers;
  return [red * scale, green * scale, blue * scale, alpha];
}

const over = (top, below) => [0, 1, 2].map((at) => top[at] * top[3] + below[at] * (1 - top[3])).concat(1);

/** What stands behind the element: the grounds of all that it lies in, through those that let light pass. */
function ground(element) {
  const layers = [];
  for (let one = element; one; one = one.parentElement) {
    const colour = channels(getComputedStyle(one).backgroundColor);
    layers.push(colour);
    if (colour[3] === 1) break;
  }
  return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
}

function luminance([red, green, blue]) {
  const [r, g, b] = [red, green, blue].map((value) => value / 255).map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function ratio(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

/** Text against what is behind it: 4.5, large text 3 (WCAG 2.2, 1.4.3). What cannot be used now is exempt. */
function contrast() {
  const found = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility({ visibilityProperty: true }) || element.closest(":disabled, noscript, option")) continue;
    const style = getComputedStyle(element);
    const behind = ground(element);
    const own = over(channels(element instanceof SVGElement ? style.fill : style.color), behind);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const there = ratio(own, behind);
    if (there < least) found.add(`${there.toFixed(2)} of ${least}: ${told(element)}`);
  }
  return [...found];
}

/** Buttons and inputs can be hit: 24 px each way (WCAG 2.2, 2.5.8); links within text are exempt. */
function targets() {
  return [...document.querySelectorAll("button, select, input:not([type=checkbox]), nav a")].filter(visible)
    .filter((element) => { const box = element.getBoundingClientRect(); return box.width < 23.5 || box.height < 23.5; }).map((element) => `too small: ${told(element)}`);
}

/** Nothing is wider than the window. */
function overflow() {
  const { scrollWidth, clientWidth } = document.documentElement;
  if (scrollWidth <= clientWidth) return [];
  const wide = [...document.querySelectorAll("body *")].filter((element) => element.getBoundingClientRect().right > clientWidth + 1 && visible(element));
  return [`${scrollWidth} px in ${clientWidth}: ${wide.slice(0, 5).map(told).join(" | ")}`];
}

/** Elements that only markup could have made. */
function foreign() {
  return [...document.querySelectorAll("img, iframe, object, embed, base, [onerror], [onload], a[href^='javascript'], body script, svg[onload]")].map((element) => `made by markup: ${told(element)}`)
    .concat(window.hit ? ["a script of a job ran"] : []);
}
