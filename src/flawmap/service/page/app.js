// The page: what keys and buttons do.

import { ask, droppedFiles } from "/static/api.js";
import {
  beginPainting, isPainting, keepPainting, leavePainting, resizeBrush, setErasing, toggleErasing, undoStroke,
} from "/static/brush.js";
import {
  checkPhoto, decide, endOutlining, rejectRest, relabel, toggleOutlining,
} from "/static/corrections.js";
import { addPhotos, cancelInspection, listInspections, showInspection } from "/static/inspections.js";
import "/static/lists.js";
import { changed, element, make, say, shown, tell } from "/static/page.js";
import { openPanel } from "/static/panels.js";
import { openPhoto, step, viewer } from "/static/photo.js";
import { offerReports } from "/static/report.js";

function toggle(id) {
  element(id).checked = !element(id).checked;
  element(id).dispatchEvent(new Event("input"));
}

function leave() {
  if (isPainting()) leavePainting();
  else endOutlining();
}

const VIEW_KEYS = {
  f: () => viewer.fit(),
  "+": () => viewer.zoomBy(1.5),
  "-": () => viewer.zoomBy(1 / 1.5),
  1: () => toggle("show-outlines"),
  2: () => toggle("show-masks"),
  3: () => toggle("show-heat"),
  "?": () => element("help").showModal(),
  Escape: leave,
};
const WALK_KEYS = {
  ...VIEW_KEYS,
  n: () => step(1),
  ArrowRight: () => step(1),
  p: () => step(-1),
  ArrowLeft: () => step(-1),
  a: () => decide("accept"),
  r: () => decide("reject"),
  R: rejectRest,
  l: relabel,
  m: toggleOutlining,
  b: beginPainting,
  c: checkPhoto,
};
const PAINT_KEYS = {
  ...VIEW_KEYS,
  e: toggleErasing,
  u: undoStroke,
  "[": () => resizeBrush(1 / 1.3),
  "]": () => resizeBrush(1.3),
  Enter: keepPainting,
};

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("select, dialog, input:not([type=checkbox], [type=range])");
  const isPress = event.key === "Enter" && event.target.closest(isPainting() ? "#painter button" : "button, a");
  const isStep = event.key.startsWith("Arrow") && event.target.closest("input");
  const isHeld = event.ctrlKey || event.metaKey || event.altKey;
  const keys = isPainting() ? PAINT_KEYS : WALK_KEYS;
  if (isTyping || isPress || isStep || isHeld || openPanel() !== "photos" || !(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});

const clicks = {
  previous: () => step(-1),
  next: () => step(1),
  accept: () => decide("accept"),
  reject: () => decide("reject"),
  relabel,
  mark: toggleOutlining,
  paint: beginPainting,
  checked: checkPhoto,
  draw: () => setErasing(false),
  erase: () => setErasing(true),
  undo: undoStroke,
  keep: keepPainting,
  "leave-mask": leavePainting,
  fit: () => viewer.fit(),
  "zoom-in": () => viewer.zoomBy(1.5),
  "zoom-out": () => viewer.zoomBy(1 / 1.5),
  "help-button": () => element("help").showModal(),
  cancel: cancelInspection,
  "layers-button": toggleLayers,
};
for (const [id, work] of Object.entries(clicks)) {
  element(id).addEventListener("click", (event) => {
    work();
    // After a mouse's click Enter is the photo's again; who came by the Tab key stays where they are.
    if (event.detail) element("stage").focus({ preventScroll: true });
  });
}
element("inspections").addEventListener("change", (event) => tell(() => showInspection(event.target.value)));
for (const id of ["files", "folder"]) {
  element(id).addEventListener("change", (event) => {
    const files = [...event.target.files].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
    event.target.value = "";
    addPhotos(files);
  });
}
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  element("stage").classList.add("over");
});
document.addEventListener("dragleave", () => element("stage").classList.remove("over"));
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  element("stage").classList.remove("over");
  await tell(async () => addPhotos(await droppedFiles(event.dataTransfer)));
});

// On a phone there is no room for the layers' sliders beside the rest.
function toggleLayers() {
  const isOpen = element("layers").classList.toggle("open");
  element("layers-button").setAttribute("aria-expanded", isOpen);
}

async function begin() {
  const models = await ask("/v1/models");
  const able = models.filter((one) => one.can_inspect);
  element("models").replaceChildren(...able.map((one) => make("option", { value: one.name, textContent: one.name })));
  if (!able.length) say(models[0].why_not);
  await listInspections();
  await followLink();
  changed();
  await offerReports();
}

// A link such as the webhook's names an inspection and a photo of it.
async function followLink() {
  const asked = new URLSearchParams(location.search);
  if (!asked.has("inspection")) return;
  await showInspection(asked.get("inspection"));
  element("inspections").value = shown.result.id;
  const photo = shown.result.photos.find((one) => one.number === Number(asked.get("photo")));
  if (photo) openPhoto(photo);
}

tell(begin);
