// The nodes as a drawing: a ring, a line between every two that hear each other, the leader filled.
import { s } from "./dom.js";

const WIDE = 360, HIGH = 220, RADIUS = 74, DOT = 13;
const NAMED_MAX = 12;
const NAME_HIGH = 16; // Of the names below the dots.
const NAME_CHARS = 18;

/** `nodes`: [{ id, isLeader, status, isDraining }]. */
export function ring(nodes) {
  const places = centred(nodes.map((_, at) => spot(at, nodes.length)));
  const links = places.flatMap((one, at) => places.slice(at + 1).map((other, step) => [one, other, nodes[at], nodes[at + 1 + step]]));
  return s("svg", { class: "ring", viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": described(nodes) },
    links.map(([one, other, first, second]) => s("line", { x1: one.x, y1: one.y, x2: other.x, y2: other.y, class: isUp(first) && isUp(second) ? "tie" : "tie is-cut" })),
    nodes.map((node, at) => drawn(node, places[at], nodes.length)));
}

const isUp = (node) => node.status === "alive";

const described = (nodes) => nodes.map((node) => `${node.id}: ${node.isLeader ? "leader, " : ""}${node.status}${node.isDraining ? ", draining" : ""}`).join("; ");

function spot(at, count) {
  if (count === 1) return { x: WIDE / 2, y: 0 };
  const angle = (2 * Math.PI * at) / count - Math.PI / 2;
  return { x: WIDE / 2 + RADIUS * 1.2 * Math.cos(angle), y: RADIUS * Math.sin(angle) };
}

/** An odd number of nodes reaches further up than down. */
function centred(places) {
  const heights = places.map((one) => one.y);
  const middle = (Math.min(...heights) + Math.max(...heights)) / 2;
  return places.map(({ x, y }) => ({ x, y: y - middle + HIGH / 2 - NAME_HIGH / 2 }));
}

function drawn(node, { x, y }, count) {
  const name = node.id.length > NAME_CHARS ? `${node.id.slice(0, NAME_CHARS - 1)}…` : node.id;
  return s("g", { class: `node is-${node.status}${node.isLeader ? " is-leader" : ""}` },
    node.isLeader && s("circle", { cx: x, cy: y, r: DOT + 5, class: "halo" }), s("circle", { cx: x, cy: y, r: DOT }),
    count <= NAMED_MAX && s("text", { x, y: y + DOT + 20, "text-anchor": "middle" }, name));
}
