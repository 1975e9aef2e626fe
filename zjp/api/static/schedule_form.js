// The form for a periodic job, new or changed.
import { patch, path, post } from "./api.js";
import { ask, field } from "./dialog.js";
import { toast } from "./toast.js";

const CATCH_UP = [["once", "one run for all of them"], ["skip", "left out"], ["all", "each is made up for"]];

export function scheduleDialog(view, old) {
  const one = old ?? { name: "", type: "", payload: {}, queue: "", priority: "", cron: "", every: "", zone: "UTC", catch_up: "once" };
  ask({
    title: old ? `Change ${old.name}` : "Add a periodic job",
    verb: old ? "Change" : "Add",
    fields: [
      !old && field({ name: "name", label: "Name", required: true, autocomplete: "off" }),
      field({ name: "type", label: "Type", value: one.type, required: true, autocomplete: "off", hint: "The name of a task" }),
      field({ name: "cron", label: "Cron expression", isHalf: true, value: one.cron ?? "", autocomplete: "off", placeholder: "0 3 * * *", hint: "Minute, hour, day, month, weekday" }),
      field({ name: "every", label: "Interval", isHalf: true, hint: "Instead of cron", value: one.every ?? "", autocomplete: "off", placeholder: "15m" }),
      field({ name: "zone", label: "Time zone", isHalf: true, value: one.zone, autocomplete: "off", placeholder: "Europe/Berlin" }),
      field({ name: "catch_up", label: "Missed runs", isHalf: true, kind: "select", value: one.catch_up, choices: CATCH_UP }),
      field({ name: "payload", label: "Payload", kind: "json", value: one.payload, hint: "A JSON object: the task's parameters" }),
      field({ name: "queue", label: "Queue", isHalf: true, value: one.queue, placeholder: "default", autocomplete: "off" }),
      field({ name: "priority", label: "Priority", isHalf: true, kind: "number", value: one.priority, min: 1, max: 10, placeholder: "5" }),
    ].filter(Boolean),
    deed: async (values) => {
      if (!values.cron === !values.every) throw new Error("Give a cron expression or an interval, not both.");
      const body = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== "" && value !== null));
      await (old ? patch(path`/api/v1/schedules/${old.name}`, body) : post("/api/v1/schedules", body));
      toast(old ? "Changed" : "Added");
      view.refresh();
    },
  });
}
