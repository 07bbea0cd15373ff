// The bar of the brush: paint and erase the mask of a finding, or of a flaw that the model missed.

import { ask } from "/static/api.js";
import { decide, markMissed } from "/static/corrections.js";
import { changed, element, isReviewer, say, shown, tell } from "/static/page.js";
import { Painting } from "/static/painting.js";
import { holdPhoto, holdsPhoto, maskOf, viewer } from "/static/photo.js";

const BRUSH_ON_SCREEN_PX = 14;
let painting = null;

export const isPainting = () => painting !== null;

export async function beginPainting() {
  const { photo, finding } = shown;
  if (!photo?.width_px || !viewer.size || !isReviewer || holdsPhoto()) return;
  holdPhoto("The mask is being read.");
  const mask = finding && (await tell(() => readMask(finding)));
  if (finding && !mask) {
    holdPhoto(null);
    return;
  }
  painting = new Painting(viewer.size, element("paint-layer"));
  if (mask) painting.lay(mask);
  painting.onEnd = showBar;
  viewer.tool = painting;
  holdPhoto("Keep the mask or leave it first.");
  setErasing(false);
  setSize(Math.round(BRUSH_ON_SCREEN_PX / viewer.view.scale));
  say(finding ? "Draw what is missing, erase what is too much." : "Paint the flaw.");
  document.body.classList.add("painting");
  changed();
}

// What counts as a finding's mask: the model's own, where it gives masks, until a person painted another.
async function readMask(finding) {
  const known = maskOf(finding);
  return known.has_mask ? ask(`/v1/findings/${known.id}/mask`) : known;
}

function endPainting() {
  painting.close();
  painting = null;
  viewer.tool = null;
  holdPhoto(null);
  element("brush").hidden = true;
  document.body.classList.remove("painting");
  say("");
}

export function leavePainting() {
  if (!painting) return;
  endPainting();
  changed();
}

export async function keepPainting() {
  if (!painting) return;
  const { runs } = painting;
  if (!runs) {
    say(shown.finding ? "Nothing of the mask is left: leave it, and reject the finding." : "Nothing is painted.");
    return;
  }
  endPainting();
  changed();
  if (shown.finding) await decide("painted", { runs });
  else markMissed({ runs });
}

export function setErasing(isErasing) {
  if (!painting) return;
  painting.isErasing = isErasing;
  showBar();
}

export const toggleErasing = () => setErasing(!painting?.isErasing);

export function undoStroke() {
  painting?.undo();
  showBar();
}

export function resizeBrush(factor) {
  if (!painting) return;
  const size = painting.brushPx * factor;
  setSize(factor > 1 ? Math.ceil(size) : Math.floor(size));
}

function setSize(size) {
  const slider = element("brush-size");
  slider.value = size; // kept within its limits
  painting.brushPx = Number(slider.value);
  showBar();
}

function showBar() {
  if (!painting) return;
  element("draw").setAttribute("aria-pressed", !painting.isErasing);
  element("erase").setAttribute("aria-pressed", painting.isErasing);
  element("undo").disabled = !painting.isChanged;
  element("brush-px").textContent = `${painting.brushPx} px`;
  const side = `${painting.brushPx * viewer.view.scale}px`;
  element("brush").style.width = element("brush").style.height = side;
}

// A ring shows what the brush will touch.
viewer.stage.addEventListener("pointermove", (event) => {
  const ring = element("brush");
  ring.hidden = !painting;
  if (!painting) return;
  const { left, top } = viewer.stage.getBoundingClientRect();
  ring.style.left = `${event.clientX - left}px`;
  ring.style.top = `${event.clientY - top}px`;
});
viewer.stage.addEventListener("pointerleave", () => {
  element("brush").hidden = true;
});
viewer.onLook = showBar;
element("brush-size").addEventListener("input", (event) => {
  if (painting) setSize(event.target.value);
});
