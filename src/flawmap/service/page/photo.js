// One photo with its layers, and the finding that is chosen in it.

import { changed, element, isReviewer, say, shown, whenChanged } from "/static/page.js";
import { outlineOfRuns, outlineOfPolygon } from "/static/masks.js";
import { Viewer } from "/static/viewer.js";

export const viewer = new Viewer({ onPick: pickAt });

// Why no other photo can be shown: a mask is being painted.
let hold = null;

export function holdPhoto(words) {
  hold = words;
}

export const holdsPhoto = () => hold !== null;

function isHeld() {
  if (hold) say(hold);
  return holdsPhoto();
}

export function openPhoto(one) {
  if (isHeld()) return;
  if (shown.photo?.number !== one.number || !viewer.size) {
    const place = `/v1/inspections/${shown.result.id}/photos/${one.number}`;
    if (one.width_px) {
      viewer.open(`/v1/photos/${one.photo}/image`, `${place}/heat.png`, [one.width_px, one.height_px]);
    } else {
      viewer.close();
    }
  } else {
    viewer.fit();
  }
  shown.photo = one;
  shown.finding = null;
  viewer.tool = null;
  changed();
}

export function choose({ photo, finding }) {
  if (isHeld()) return;
  if (shown.photo?.number !== photo.number || !viewer.size) openPhoto(photo);
  shown.finding = finding;
  viewer.focus(finding.box_xyxy);
  changed();
}

export function step(by) {
  const { queue, finding } = shown;
  if (!queue.length) return;
  const at = queue.findIndex((one) => one.finding === finding);
  choose(queue[at < 0 ? 0 : (at + by + queue.length) % queue.length]);
}

// All that is marked in a photo: the model's findings, and flaws that people added in the same form.
export function flawsOf(photo) {
  return [...photo.findings, ...photo.missed.map((one) => addedFlaw(photo, one))];
}

const added = new WeakMap();

function addedFlaw(photo, review) {
  if (!added.has(review)) {
    const { box } = shapeOf(review, photo.height_px);
    added.set(review, { label: review.label, box_xyxy: box, polygon: review.polygon ?? [], missed: review });
  }
  return added.get(review);
}

const shapes = new WeakMap();

// The path around a finding or a review and the path that fills it; painted masks hide the model's outline.
export function shapeOf(one, height) {
  if (!shapes.has(one)) {
    const [left, top, right, bottom] = one.box_xyxy ?? [];
    const box = [[left, top], [right, top], [right, bottom], [left, bottom]];
    const polygon = one.polygon?.length >= 3 ? one.polygon : box;
    shapes.set(one, one.runs ? outlineOfRuns(one.runs, height) : outlineOfPolygon(polygon));
  }
  return shapes.get(one);
}

// What counts as a finding's mask: what was painted last, unless another word came later.
export function maskOf(finding) {
  if (finding.missed) return finding.missed;
  return finding.review?.runs ? finding.review : finding;
}

const howToAdd = () =>
  matchMedia("(max-width: 760px)").matches ? "Choose photos below." : "Drop photos or a folder here.";

function draw() {
  const { photo, finding } = shown;
  element("empty").hidden = Boolean(viewer.size);
  element("empty").textContent = photo?.error || (isReviewer ? howToAdd() : "No photo.");
  element("photo-name").textContent = photo ? `${photo.name}${photo.reason ? `: ${photo.reason}` : ""}` : "";
  element("photo-name").title = element("photo-name").textContent;
  if (!photo || !viewer.size) return;
  const isPainting = holdsPhoto();
  const flaws = flawsOf(photo).map((one) => ({
    ...shapeOf(maskOf(one), photo.height_px),
    verdict: one.missed ? "missed" : (one.review?.verdict ?? "open"),
    isChosen: one === finding,
    isHidden: isPainting && one === finding,
  }));
  const layer = (name) => element(`show-${name}`).checked && element(`fade-${name}`).value / 100;
  viewer.draw(flaws.filter((one) => !one.isHidden), {
    outlines: layer("outlines"),
    masks: layer("masks"),
    heat: layer("heat"),
  });
}

// The smallest finding below the pointer; none where there is none.
function pickAt([x, y]) {
  if (isHeld() || !shown.photo) return;
  const holds = ({ box_xyxy: [left, top, right, bottom] }) => left <= x && x < right && top <= y && y < bottom;
  const area = ({ box_xyxy: [left, top, right, bottom] }) => (right - left) * (bottom - top);
  shown.finding = flawsOf(shown.photo).filter(holds).sort((a, b) => area(a) - area(b))[0] ?? null;
  changed();
}

whenChanged(draw);
for (const name of ["outlines", "masks", "heat"]) {
  for (const id of [`show-${name}`, `fade-${name}`]) element(id).addEventListener("input", draw);
}
