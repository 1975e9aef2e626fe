// Elements from data. Strings become text nodes and nothing here reads markup, so what a job holds stays text whatever it is.
const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. `props`: attributes; `onclick` and the like are listeners; false, null and undefined are left out. */
export const h = (tag, props, ...children) => filled(document.createElement(tag), props, children);

/** An SVG element, likewise. */
export const s = (tag, props, ...children) => filled(document.createElementNS(SVG, tag), props, children);

function filled(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) set(element, name, value);
  element.append(...children.flat(Infinity).filter(isThere));
  return element;
}

const isThere = (child) => child !== null && child !== undefined && child !== false && child !== true && child !== "";

function set(element, name, value) {
  if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (name === "value" || name === "checked") element[name] = value;
  else if (value === true) element.setAttribute(name, "");
  else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
}

/** Another content. The focus stays where it was: on the element with the same data-key. */
export function show(holder, ...children) {
  const key = holder.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  holder.replaceChildren(...children.flat(Infinity).filter(isThere));
  if (key) [...holder.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key)?.focus();
  return holder;
}

const shown = new WeakMap();

/** Draws again only when the data is another: what somebody selects or reads does not jump. */
export function update(holder, data, make) {
  const text = JSON.stringify(data);
  if (shown.get(holder) === text) return;
  shown.set(holder, text);
  show(holder, make(data));
}

/** An element that is made once and drawn by `make` whenever `draw(data)` brings something new. */
export function region(tag, props, make) {
  const element = h(tag, props);
  return { element, draw: (data) => update(element, data, make) };
}

let count = 0;

/** For labels and descriptions. */
export const freshId = () => `i${++count}`;
