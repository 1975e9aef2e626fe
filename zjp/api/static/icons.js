// Line icons of 24 units, drawn for this page.
import { s } from "./dom.js";

const LINES = {
  overview: "M4 13h4l3-8 3 14 3-6h3",
  jobs: "M5 6h14M5 12h14M5 18h9",
  failed: "M12 4 2.8 20h18.4L12 4ZM12 10v4.5M12 17.2v.1",
  scheduled: "M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17ZM12 7.5V12l3 2.5",
  queues: "m12 4 9 4.5-9 4.5-9-4.5L12 4ZM3 12.5l9 4.5 9-4.5M3 16.5l9 4.5 9-4.5",
  workers: "M7 7h10v10H7zM10 3v4M14 3v4M10 17v4M14 17v4M3 10h4M3 14h4M17 10h4M17 14h4",
  cluster: "M12 7.5 6.5 16M12 7.5l5.5 8.5M8 18h8M12 3.5a2 2 0 1 1 0 4 2 2 0 0 1 0-4ZM6 16a2 2 0 1 1 0 4 2 2 0 0 1 0-4ZM18 16a2 2 0 1 1 0 4 2 2 0 0 1 0-4Z",
  audit: "M6 3.5h12v17H6zM9 8h6M9 12h6M9 16h3",
  users: "M12 4.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7ZM4.5 20c.8-4 3.6-5.5 7.5-5.5s6.7 1.5 7.5 5.5",
  menu: "M4 7h16M4 12h16M4 17h16",
  light: "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8ZM12 2.5v2.5M12 19v2.5M2.5 12h2.5M19 12h2.5M5.3 5.3l1.8 1.8M16.9 16.9l1.8 1.8M18.7 5.3l-1.8 1.8M7.1 16.9l-1.8 1.8",
  dark: "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10Z",
  help: "M9.2 9.2a2.9 2.9 0 1 1 4.2 2.6c-1 .5-1.4 1.1-1.4 2.2M12 17.4v.1M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17Z",
};

export const icon = (name) => s("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: LINES[name] }));

const MARK = [[9, 10], [23, 10], [9, 22], [23, 22]];

/** A Z of four nodes; the last one has the lead. */
export const logo = () => s("svg", { class: "logo", viewBox: "0 0 32 32", "aria-hidden": "true" },
  s("rect", { width: 32, height: 32, rx: 8, class: "logo-ground" }),
  s("path", { d: "M9 10h14L9 22h14", class: "logo-line" }),
  MARK.map(([cx, cy], at) => s("circle", { cx, cy, r: 3, class: at === 3 ? "logo-lead" : "logo-node" })));
