// Who uses this page, and what they may do. Roles only decide which buttons exist; the API decides what happens.
import { get, patch, post, setCsrf } from "./api.js";

const RANK = { worker: 1, user: 2, admin: 3 };

/** `auth` false: nobody is asked for a name, everybody may do everything. */
export const me = { name: "", role: "", auth: true };

/** Is somebody of at least this role here? Without one: is anybody? */
export const may = (role) => (RANK[me.role] ?? 0) >= (RANK[role] ?? 1);

export const isSignedIn = () => me.role !== "";

/** Raises Problem, 401 when a login is needed. */
export async function look() {
  become(await get("/auth/me"));
}

export async function signIn(username, password) {
  become(await post("/auth/login?session=cookie", { username, password }));
  await look();
}

/** `values`: password, old_password. All sessions end; the answer begins a new one here. */
export async function changePassword(values) {
  become({ ...me, ...await patch("/auth/me", values) });
}

export async function signOut() {
  await post("/auth/logout");
  forget();
}

export function forget() {
  become({ name: "", role: "", auth: true, csrf: "" });
}

function become({ name, role, auth = true, csrf }) {
  Object.assign(me, { name: name ?? "", role: role ?? "", auth });
  setCsrf(csrf);
}
