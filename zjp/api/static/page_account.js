// Logging in, and one's own password.
import { field } from "./dialog.js";
import { h, show } from "./dom.js";
import { logo } from "./icons.js";
import { facts, heading, panel } from "./parts.js";
import { passwordField } from "./page_users.js";
import { changePassword, me, signIn } from "./session.js";
import { toast } from "./toast.js";

export function login(view) {
  const name = field({ name: "username", label: "User name", required: true, autocomplete: "username", autocapitalize: "none", spellcheck: "false", autofocus: true });
  const password = field({ name: "password", label: "Password", kind: "password", required: true, autocomplete: "current-password" });
  const form = working("Log in", [name, password], async ({ username, password: text }) => { await signIn(username, text); view.entered(); });
  queueMicrotask(() => name.input.focus());
  return h("div", { class: "panel login" }, h("div", { class: "login-head" }, logo(), h("h1", {}, "Log in to zjp")), form,
    h("p", { class: "note" }, "An admin makes users here or with ", h("code", {}, "zjp users add"), "."));
}

export function account(view) {
  const old = field({ name: "old_password", label: "Present password", kind: "password", required: true, autocomplete: "current-password" });
  const form = working("Change the password", [old, passwordField("New password")], async (values) => {
    await changePassword(values);
    toast("The password was changed");
    form.reset();
  });
  return [heading("Account", "A new password ends all your other sessions"),
    panel("You", {}, facts([["Name", me.name || "nobody is asked for"], ["Role", me.role]])), me.auth && panel("Password", {}, form)];
}

/** A form in the page: `deed(values)`; what goes wrong stands above the button. */
function working(verb, fields, deed) {
  const fault = h("p", { class: "fault", role: "alert", hidden: true });
  const submit = h("button", { class: "primary", type: "submit" }, verb);
  return h("form", { class: "stack narrow", onsubmit: async (event) => {
    event.preventDefault();
    submit.disabled = true;
    fault.hidden = true;
    try {
      await deed(Object.fromEntries(fields.map((one) => [one.name, one.read()])));
    } catch (problem) {
      show(fault, problem.message);
      fault.hidden = false;
    } finally {
      submit.disabled = false;
    }
  } }, fields.map((one) => one.element), fault, submit);
}
