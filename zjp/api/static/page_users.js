// Who may log in, and as what.
import { get, patch, path, post, remove } from "./api.js";
import { ask, confirm, field } from "./dialog.js";
import { h } from "./dom.js";
import { ago } from "./format.js";
import { badge, button, code, empty, heading } from "./parts.js";
import { me } from "./session.js";
import { table } from "./table.js";
import { toast } from "./toast.js";

const ROLES = [["worker", "worker: reads"], ["user", "user: also submits, cancels and runs again"], ["admin", "admin: does everything"]];

export function users(view) {
  const list = table({ label: "Users", key: (one) => one.name, empty: none, columns: [
    { title: "Name", kind: "main", cell: (one) => [h("strong", {}, one.name), one.name === me.name && h("small", {}, "you"), one.is_dev && badge("known password", "failed")] },
    { title: "Role", cell: (one) => badge(one.role, "plain") },
    { title: "Made", cell: (one) => ago(one.created_at) },
    { title: "Changed", kind: "grow", cell: (one) => ago(one.changed_at) },
    { title: "Actions", kind: "deeds", cell: (one) => deeds(view, one) },
  ] });
  view.keep(async (signal) => {
    list.draw((await get("/api/v1/users", { limit: 500 }, signal)).items);
    view.hasContent = true;
  }, { everyMs: 15_000 });
  const note = me.auth ? "A new password or role ends the user's sessions" : "Nobody is asked to log in now: AUTH_ENABLED is off";
  return [heading("Users", note, button("Add a user", () => add(view), { class: "primary" })), list.element];
}

const none = () => empty("No users.", "Add the first one here, or on the command line: ", code("zjp users add NAME --role admin"), ".");

const roleField = (value) => field({ name: "role", label: "Role", kind: "select", value, choices: ROLES });
export const passwordField = (label = "Password", name = "password") => field({ name, label, kind: "password", required: true, autocomplete: "new-password" });

function add(view) {
  ask({ title: "Add a user", verb: "Add", fields: [field({ name: "name", label: "Name", required: true, autocomplete: "off" }), roleField("user"), passwordField()],
    deed: async (values) => { await post("/api/v1/users", values); toast(`${values.name} was added`); view.refresh(); } });
}

function deeds(view, one) {
  const address = path`/api/v1/users/${one.name}`;
  const named = (verb) => ({ "data-key": `${verb} ${one.name}`, "aria-label": `${verb}: ${one.name}` });
  const change = (body, said) => async () => { await patch(address, body); toast(said); view.refresh(); };
  return [
    button("Role", () => ask({ title: `Role of ${one.name}`, verb: "Change the role", fields: [roleField(one.role)], deed: (values) => change(values, "The role was changed")() }), named("Role")),
    button("Password", () => ask({ title: `New password for ${one.name}`, verb: "Change the password", fields: [passwordField("New password")], deed: (values) => change(values, "The password was changed")() }), named("Password")),
    button("Remove", () => confirm({ title: `Remove ${one.name}?`, verb: "Remove the user", text: "The user's sessions end at once.",
      deed: async () => { await remove(address); toast(`${one.name} was removed`); view.refresh(); } }), { class: "danger", ...named("Remove") }),
  ];
}
