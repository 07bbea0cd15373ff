// A tool that draws a closed line around a flaw.

import { viewer } from "/static/photo.js";

const MOST_POINTS = 400; // a stroke has a point per event; these say as much

// `onDrawn` gets the outline, [[x, y], …].
export function outlining(onDrawn) {
  let points = [];

  function sketch() {
    viewer.marks.querySelector(".sketch")?.remove();
    if (!points.length) return;
    const line = `M${points.map((point) => point.join(" ")).join("L")}`;
    viewer.marks.append(viewer.path(line, "missed chosen sketch"));
  }

  function go(point) {
    points.push(point);
    sketch();
  }

  function stop() {
    points = [];
    sketch();
  }

  function end() {
    const step = Math.max(1, Math.ceil(points.length / MOST_POINTS));
    const outline = points.filter((_, i) => i % step === 0);
    stop();
    if (outline.length >= 3) onDrawn(outline);
  }

  return { begin: go, go, end, stop };
}
