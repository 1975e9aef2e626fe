// Dialogs: <dialog> keeps the focus in and Escape closes it. What cannot be undone is asked here first.
import { freshId, h, show } from "./dom.js";
import { parse } from "./exact_json.js";

/** Something to read. */
export function tell(title, ...content) {
  const dialog = open(title, [h("div", { class: "stack" }, content), h("div", { class: "row end" }, closer("Close"))]);
  return dialog;
}

/** Ask before a deed. `deed` runs when confirmed; while it fails, the dialog stays and says why. */
export const confirm = ({ title, text, verb, deed, isDanger = true }) => ask({ title, text, verb, deed, isDanger, fields: [] });

/** A form. `fields`: from field(); `deed(values)` may raise: the dialog then stays and says why. */
export function ask({ title, text, verb, fields, deed, isDanger = false }) {
  const fault = h("p", { class: "fault", role: "alert", hidden: true });
  const submit = h("button", { class: isDanger ? "danger" : "primary", type: "submit" }, verb);
  const form = h("form", { class: "stack", onsubmit: run }, text && h("p", {}, text), h("div", { class: "fields" }, fields.map((one) => one.element)),
    h("div", { class: "dialog-foot" }, fault, h("div", { class: "row end" }, closer("Cancel"), submit)));
  const dialog = open(title, [form]);

  async function run(event) {
    event.preventDefault();
    submit.disabled = true;
    fault.hidden = true;
    try {
      await deed(Object.fromEntries(fields.map((one) => [one.name, one.read()])));
      dialog.close();
    } catch (problem) {
      show(fault, problem.message);
      fault.hidden = false;
    } finally {
      submit.disabled = false;
    }
  }
  return dialog;
}

/** One labelled input; `isHalf`: two of them stand side by side. `kind`: text, password, number, json, lines, select (with `choices`), check. `hint`: below it. */
export function field({ name, label, kind = "text", value = "", hint = "", choices = [], isHalf = false, ...rest }) {
  const id = freshId();
  const props = { id, name, "aria-describedby": hint ? `${id}-hint` : null, ...rest };
  const input = INPUTS[kind] ? INPUTS[kind](props, value, choices) : h("input", { ...props, type: kind, value });
  const note = hint && h("small", { id: `${id}-hint` }, hint);
  const element = kind === "check"
    ? h("div", { class: "field whole" }, h("label", { class: "check" }, input, label), note)
    : h("div", { class: isHalf ? "field" : "field whole" }, h("label", { for: id }, label), input, note);
  return { name, element, input, read: () => (READ[kind] ?? READ.text)(input, label) };
}

const INPUTS = {
  json: (props, value) => h("textarea", { ...props, class: "code", rows: 9, spellcheck: "false", value: JSON.stringify(value, null, 2) }),
  select: (props, value, choices) => h("select", { ...props }, choices.map(([key, text]) =>
    h("option", { value: key, selected: key === value }, text))),
  check: (props, value) => h("input", { ...props, type: "checkbox", checked: value }),
};

const READ = {
  text: (input) => input.value.trim(),
  password: (input) => input.value,
  number: (input) => (input.value === "" ? null : Number(input.value)),
  check: (input) => input.checked,
  select: (input) => input.value,
  json: (input, label) => {
    try {
      return parse(input.value);
    } catch (fault) {
      throw new Error(`${label} is not JSON: ${fault.message}`);
    }
  },
};

const closer = (text) => h("button", { type: "button", onclick: (event) => event.target.closest("dialog").close() }, text);

function open(title, content) {
  const id = freshId();
  const dialog = h("dialog", { "aria-labelledby": id, onclose: () => dialog.remove() }, h("h2", { id }, title), content);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
