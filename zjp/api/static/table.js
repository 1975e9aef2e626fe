// Lists. Wide: a table; narrow: each row is a card (the roles are written out, because such a layout would take them away).
import { h, show } from "./dom.js";

/**
 * `columns`: [{ title, cell(item), kind }], kind: num, main, grow. `key(item)`: names a row, so that an unchanged one is kept as it is.
 * `picked`: a Set of keys that can be selected, or nothing; `onpick` hears of changes.
 */
export function table({ label, columns, key, picked, onpick, empty }) {
  const rows = new Map();
  const body = h("tbody", { role: "rowgroup" });
  const all = picked && h("input", { type: "checkbox", "aria-label": "Select all on this page", onchange: () => pickAll(all.checked) });
  const element = h("table", { role: "table", "aria-label": label }, h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
    picked && h("th", { role: "columnheader", scope: "col", class: "pick" }, all),
    columns.map((one) => h("th", { role: "columnheader", scope: "col", class: one.kind }, one.title)))), body);
  const nothing = h("div", { class: "empty", hidden: true });
  let items = [];

  function pickAll(isOn) {
    items.forEach((item) => (isOn ? picked.add(key(item)) : picked.delete(key(item))));
    body.querySelectorAll(".pick input").forEach((box) => { box.checked = isOn; });
    onpick();
  }

  function draw(next) {
    items = next;
    const kept = new Set(items.map(key));
    for (const [id, row] of rows) if (!kept.has(id)) { row.element.remove(); rows.delete(id); }
    items.forEach((item, at) => place(row(item), at));
    element.hidden = items.length === 0;
    nothing.hidden = items.length > 0;
    if (items.length === 0) show(nothing, empty());
    mark();
  }

  function place(one, at) {
    if (body.children[at] !== one) body.insertBefore(one, body.children[at] ?? null);
  }

  function row(item) {
    const id = key(item);
    const text = JSON.stringify(item);
    const known = rows.get(id);
    if (known?.text === text) return known.element;
    const made = h("tr", { role: "row" }, picked && pickCell(id), columns.map((one) => cell(one, item)));
    const focus = known?.element.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    known?.element.replaceWith(made);
    if (focus) made.querySelector(`[data-key="${focus}"]`)?.focus();
    rows.set(id, { text, element: made });
    return made;
  }

  function pickCell(id) {
    const box = h("input", { type: "checkbox", "aria-label": `Select ${id}`, "data-key": "pick", checked: picked.has(id),
      onchange: () => { picked[box.checked ? "add" : "delete"](id); mark(); onpick(); } });
    return h("td", { role: "cell", class: "pick" }, box);
  }

  function mark() {
    if (!picked) return;
    const count = items.filter((item) => picked.has(key(item))).length;
    all.checked = count > 0 && count === items.length;
    all.indeterminate = count > 0 && count < items.length;
    body.querySelectorAll(".pick input").forEach((box, at) => { box.checked = picked.has(key(items[at])); });
  }

  return { element: h("div", { class: "list" }, element, nothing), draw, mark };
}

const cell = (column, item) => h("td", { role: "cell", class: column.kind, "data-label": column.title || null },
  h("div", { class: "cell" }, column.cell(item)));
