// The form for a new job: empty, or with what another one had.
import { post } from "./api.js";
import { ask, field } from "./dialog.js";
import { go } from "./router.js";
import { submitBody } from "./snippets.js";
import { toast } from "./toast.js";

export function submitDialog(view, job) {
  const body = job ? submitBody(job) : { type: "", payload: {}, queue: "", priority: "" };
  ask({
    title: job ? "Run again with edits" : "Submit a job",
    text: job && "This makes a new job; the old one stays as it is.",
    verb: "Submit",
    fields: [
      field({ name: "type", label: "Type", value: body.type, required: true, autocomplete: "off", hint: "The name of a task" }),
      field({ name: "payload", label: "Payload", kind: "json", value: body.payload, hint: "A JSON object: the task's parameters" }),
      field({ name: "queue", label: "Queue", isHalf: true, value: body.queue, placeholder: "default", autocomplete: "off", hint: "A node must serve it" }),
      field({ name: "priority", label: "Priority", isHalf: true, kind: "number", value: body.priority, min: 1, max: 10, placeholder: "5", hint: "1 to 10; higher runs first" }),
      field({ name: "max_retries", label: "Retries", isHalf: true, kind: "number", value: body.max_retries ?? "", min: 0, hint: "Empty: as the task has it" }),
      field({ name: "delay", label: "Delay", isHalf: true, value: "", placeholder: "none", autocomplete: "off", hint: "Such as 30s or 5m" }),
    ],
    deed: async (values) => {
      const answer = await post("/api/v1/jobs", given({ ...values, tags: body.tags, timeout: body.timeout }));
      toast(answer.existed ? "The same job was there already" : "Submitted");
      go(["jobs", answer.id]);
    },
  });
}

/** What was left empty is left out. */
const given = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined));
