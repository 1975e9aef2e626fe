// The life of one page: loaded now, again when something happened, and over when another one comes.
import { on } from "./live.js";
import { toast } from "./toast.js";
import { h, show } from "./dom.js";

const GAP_MS = 1000; // Between two loads that events ask for, however many there are.

export class View {
  constructor(place) {
    this.place = place;
    this.ending = new AbortController();
    this.signal = this.ending.signal;
    this.fault = h("div", { class: "fault", role: "alert", hidden: true });
    this.loads = [];
    this.waiting = 0;
  }

  /** Is something of the page still loaded for the first time? */
  get isBusy() {
    return this.waiting > 0;
  }

  end() {
    this.ending.abort();
  }

  /** `load` runs now, then when one of the `kinds` of events is told and `cares(data)`, and every `everyMs`. */
  keep(load, { kinds = [], cares = () => true, everyMs = 0 } = {}) {
    let isFirst = true;
    this.waiting += 1;
    const run = paced(async () => {
      await this.attempt(load);
      if (isFirst) this.came();
      isFirst = false;
    });
    this.loads.push(run);
    for (const kind of kinds) on(kind, (data) => cares(data) && run(), this.signal);
    on("connection", (isUp) => isUp && run(), this.signal);
    if (everyMs) {
      const timer = setInterval(() => document.hidden || run(), everyMs);
      this.signal.addEventListener("abort", () => clearInterval(timer));
    }
    run();
    return run;
  }

  came() {
    this.waiting -= 1;
    if (!this.isBusy && !this.signal.aborted) document.getElementById("main").removeAttribute("aria-busy");
  }

  /** All that the page shows, once more. */
  refresh() {
    this.loads.forEach((run) => run());
  }

  async attempt(load) {
    if (this.signal.aborted) return;
    try {
      await load(this.signal);
      this.fault.hidden = true;
    } catch (fault) {
      if (fault.name === "AbortError" || this.signal.aborted) return;
      if (fault.status === undefined) throw fault;
      if (fault.status === 0 && this.hasContent) return;
      show(this.fault, h("p", {}, fault.message));
      this.fault.hidden = false;
    }
  }

  /** A deed of the user: what it said goes to a toast, a problem too. Returns whether it was done. */
  async act(deed, done) {
    try {
      const answer = await deed();
      if (done) toast(typeof done === "function" ? done(answer) : done);
      this.refresh();
      return true;
    } catch (fault) {
      if (fault.status === undefined) throw fault;
      toast(fault.message, "bad");
      return false;
    }
  }
}

/** One at a time, GAP_MS apart; what is asked for meanwhile becomes one more at the end. */
function paced(run) {
  let isRunning = false;
  let isWanted = false;
  let last = 0;
  const turn = async () => {
    isRunning = true;
    last = performance.now();
    try {
      await run();
    } finally {
      setTimeout(() => {
        isRunning = false;
        if (isWanted) { isWanted = false; turn(); }
      }, Math.max(0, GAP_MS - (performance.now() - last)));
    }
  };
  return () => {
    if (isRunning) isWanted = true;
    else turn();
  };
}
