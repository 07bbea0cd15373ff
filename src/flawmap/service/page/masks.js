// Masks. Bits are a byte per pixel, down the columns and then rightwards, as runs count: "start length start
// length …" in one text, the first pixel being 1. A pixel (column i, row j) spans i to i + 1 and j to j + 1.

export function encodeRuns(bits) {
  const words = [];
  for (let end = 0; ;) {
    const start = bits.indexOf(1, end);
    if (start < 0) return words.join(" ");
    end = bits.indexOf(0, start);
    if (end < 0) end = bits.length;
    words.push(start + 1, end - start);
  }
}

export function fillRuns(bits, runs) {
  for (const [start, length] of pairs(runs)) bits.fill(1, start - 1, start - 1 + length);
}

// The pixels whose middles a closed polygon holds, by the even-odd rule.
export function fillPolygon(bits, [width, height], polygon) {
  const xs = polygon.map(([x]) => x);
  const first = Math.max(0, Math.floor(Math.min(...xs)));
  const last = Math.min(width - 1, Math.ceil(Math.max(...xs)));
  for (let column = first; column <= last; column += 1) {
    const ys = crossings(polygon, column + 0.5);
    for (let i = 0; i + 1 < ys.length; i += 2) {
      const [top, bottom] = [ys[i], ys[i + 1]].map((y) => Math.min(Math.max(Math.ceil(y - 0.5), 0), height));
      bits.fill(1, column * height + top, column * height + bottom);
    }
  }
}

function crossings(polygon, x) {
  const found = [];
  for (let i = 0; i < polygon.length; i += 1) {
    const [x0, y0] = polygon[i];
    const [x1, y1] = polygon[(i + 1) % polygon.length];
    if (x0 <= x !== x1 <= x) found.push(y0 + ((x - x0) / (x1 - x0)) * (y1 - y0));
  }
  return found.sort((a, b) => a - b);
}

// {line, area, box}: SVG paths around and of a polygon, and its [left, top, right, bottom].
export function outlineOfPolygon(polygon) {
  const line = `M${polygon.map((point) => point.join(" ")).join("L")}Z`;
  return { line, area: line, box: boxOf(polygon) };
}

// The same of runs, along the edges of their pixels.
export function outlineOfRuns(runs, height) {
  const columns = columnsOf(runs, height);
  const [lines, areas, corners] = [[], [], []];
  for (const [x, ends] of columns) {
    for (let i = 0; i < ends.length; i += 2) {
      const [top, bottom] = [ends[i], ends[i + 1]];
      lines.push(`M${x} ${top}h1M${x} ${bottom}h1`);
      areas.push(`M${x} ${top}h1v${bottom - top}h-1z`);
      corners.push([x, top], [x + 1, bottom]);
    }
    lines.push(edges(x, columns.get(x - 1) ?? [], ends));
    if (!columns.has(x + 1)) lines.push(edges(x + 1, ends, []));
  }
  return { line: lines.join(""), area: areas.join(""), box: boxOf(corners) };
}

// Upright edges are where one of two neighbouring columns is marked and the other is not.
function edges(x, left, right) {
  const ends = [...left, ...right].sort((a, b) => a - b);
  let path = "";
  for (let i = 0; i < ends.length; i += 2) {
    if (ends[i] < ends[i + 1]) path += `M${x} ${ends[i]}V${ends[i + 1]}`;
  }
  return path;
}

// Column → [top, bottom, top, bottom, …]; a run may go on from the foot of a column at the head of the next.
function columnsOf(runs, height) {
  const columns = new Map();
  for (const [start, length] of pairs(runs)) {
    for (let at = start - 1; at < start - 1 + length;) {
      const x = Math.floor(at / height);
      const end = Math.min(start - 1 + length, (x + 1) * height);
      if (!columns.has(x)) columns.set(x, []);
      columns.get(x).push(at - x * height, end - x * height);
      at = end;
    }
  }
  return columns;
}

function* pairs(runs) {
  const words = runs.split(" ");
  for (let i = 0; i + 1 < words.length; i += 2) yield [Number(words[i]), Number(words[i + 1])];
}

function boxOf(points) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return box;
}
