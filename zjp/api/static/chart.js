// Line charts over time, in SVG: a filled line for each series, a few round marks, and the values under the pointer as text.
import { h, s, show } from "./dom.js";
import { atClock } from "./format.js";

const HIGH = 190, LEFT = 44, RIGHT = 8, TOP = 10, BOTTOM = 22;
const SPAN_MIN_MS = 120_000; // A chart that has just begun shows two minutes, mostly empty, rather than two points far apart.

/** `series`: [{ name, kind, of(sample) }]; `least`: the top of the scale at least. draw(samples): each with `at` in ms, oldest first. */
export function lineChart({ label, series, format, least = 1 }) {
  const plot = s("svg", { class: "chart", height: HIGH, role: "img" });
  const legend = h("div", { class: "legend" });
  let last = [];
  let scale = null;
  let width = 0;

  function draw(samples) {
    last = samples;
    if (!width) return;
    scale = scaled(samples, series, width, least);
    plot.setAttribute("aria-label", summary(label, samples, series, format));
    show(plot, grid(scale, format, width), series.map((one) => lines(one, samples, scale)));
    read(samples.at(-1));
  }

  function read(sample) {
    show(legend, series.map((one) => h("span", { class: "legend-one" }, h("i", { class: `dot fill-${one.kind}` }), one.name, " ",
      h("b", {}, sample ? format(one.of(sample)) : "–"))), h("span", { class: "legend-time" }, sample && sample !== last.at(-1) ? atClock(sample.at) : ""));
  }

  function point(event) {
    if (!scale || last.length === 0) return;
    const box = plot.getBoundingClientRect();
    const at = scale.time(event.clientX - box.left);
    const sample = last.reduce((best, one) => (Math.abs(one.at - at) < Math.abs(best.at - at) ? one : best));
    plot.querySelector(".hair")?.remove();
    plot.append(hair(sample, scale, series));
    read(sample);
  }

  new ResizeObserver(() => { width = plot.clientWidth; draw(last); }).observe(plot); // Letters keep their size on every screen.
  plot.addEventListener("pointermove", point);
  plot.addEventListener("pointerleave", () => { plot.querySelector(".hair")?.remove(); read(last.at(-1)); });
  return { element: h("figure", { class: "chart-box" }, legend, plot), draw };
}

function scaled(samples, series, wide, least) {
  const end = samples.at(-1)?.at ?? Date.now();
  const start = Math.min(samples[0]?.at ?? end, end - SPAN_MIN_MS);
  const top = roundUp(Math.max(least, ...samples.flatMap((one) => series.map((each) => each.of(one)))));
  const width = wide - LEFT - RIGHT, height = HIGH - TOP - BOTTOM;
  return {
    start, end, top,
    x: (at) => LEFT + (width * (at - start)) / (end - start),
    y: (value) => TOP + height * (1 - value / top),
    time: (x) => start + ((x - LEFT) / width) * (end - start),
  };
}

/** 1, 2, 4 times a power of ten: the half of it is round too. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 10].map((step) => step * power).find((step) => step >= value);
}

function grid(scale, format, wide) {
  const marks = [0, 0.5, 1].map((share) => share * scale.top);
  const times = [scale.start, (scale.start + scale.end) / 2, scale.end];
  const anchors = ["start", "middle", "end"];
  return [
    marks.map((value) => s("line", { class: "grid", x1: LEFT, x2: wide - RIGHT, y1: scale.y(value), y2: scale.y(value) })),
    marks.map((value) => s("text", { class: "tick", x: LEFT - 8, y: scale.y(value) + 4, "text-anchor": "end" }, format(value))),
    times.map((at, index) => s("text", { class: "tick", x: scale.x(at), y: HIGH - 4, "text-anchor": anchors[index] }, atClock(at).slice(0, 5))),
  ];
}

function lines(one, samples, scale) {
  if (samples.length === 0) return [];
  const points = samples.map((sample) => `${scale.x(sample.at).toFixed(1)},${scale.y(one.of(sample)).toFixed(1)}`);
  const floor = scale.y(0);
  const area = `${scale.x(samples[0].at)},${floor} ${points.join(" ")} ${scale.x(samples.at(-1).at)},${floor}`;
  const [x, y] = points.at(-1).split(",");
  return [s("polygon", { class: `area fill-${one.kind}`, points: area }), s("polyline", { class: `line line-${one.kind}`, points: points.join(" ") }),
    s("circle", { class: `fill-${one.kind}`, cx: x, cy: y, r: 3 })];
}

function hair(sample, scale, series) {
  const x = scale.x(sample.at);
  return s("g", { class: "hair" }, s("line", { x1: x, x2: x, y1: TOP, y2: HIGH - BOTTOM }),
    series.map((one) => s("circle", { cx: x, cy: scale.y(one.of(sample)), r: 3.5, class: `fill-${one.kind}` })));
}

function summary(label, samples, series, format) {
  const sample = samples.at(-1);
  return `${label}: ${sample ? series.map((one) => `${one.name} ${format(one.of(sample))}`).join(", ") : "no figures yet"}`;
}
