// The page: photos in, findings to walk through, corrections out.

import { ask, droppedFiles, post, upload } from "/static/api.js";
import { Viewer } from "/static/viewer.js";

const element = (id) => document.getElementById(id);
const UPLOADS_AT_ONCE = 3;
const isReviewer = document.body.dataset.role !== "viewer";

const viewer = new Viewer({ onPick: pickAt, onDrawn: markMissed });
let result = null; // the inspection that is shown
let photo = null; // the photo that is shown
let finding = null; // the finding that is chosen
let queue = []; // [{photo, finding}], worst first
let isMarking = false;

function make(tag, values = {}, ...children) {
  const node = Object.assign(document.createElement(tag), values);
  node.append(...children);
  return node;
}

function say(text) {
  element("said").textContent = text;
}

async function tell(work) {
  try {
    return await work();
  } catch (error) {
    say(error.message);
    return null;
  }
}

// --- Inspections -----------------------------------------------------------------------------------------

async function listInspections(chosen) {
  const found = await ask("/v1/inspections");
  const select = element("inspections");
  select.replaceChildren(
    ...found.map((one) => make("option", { value: one.id, textContent: titleOf(one) })),
  );
  if (!found.length) return;
  select.value = chosen ?? found[0].id;
  await show(select.value);
}

function titleOf(info) {
  const at = new Date(info.created_at).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
  return `${at}, ${info.n_photos} photo${info.n_photos === 1 ? "" : "s"}, ${info.model}`;
}

async function show(id) {
  const found = await ask(`/v1/inspections/${id}/result`);
  const isOther = result?.id !== id;
  result = found;
  queue = result.photos
    .flatMap((one) => one.findings.map((inner) => ({ photo: one, finding: inner })))
    .sort((a, b) => b.finding.score - a.finding.score);
  if (isOther) {
    photo = finding = null;
    viewer.close();
  } else {
    photo = result.photos.find((one) => one.number === photo?.number) ?? null;
    finding = photo?.findings.find((one) => one.id === finding?.id) ?? null;
  }
  if (!photo) {
    if (queue.length) choose(queue[0]);
    else if (result.photos.some((one) => one.width_px)) openPhoto(result.photos.find((one) => one.width_px));
  }
  showLists();
  follow();
}

let timer = 0;

function follow() {
  clearTimeout(timer);
  const isOn = result.state === "waiting" || result.state === "running";
  const words = { waiting: "waiting", running: "looking", done: "done", cancelled: "stopped" };
  element("state").textContent =
    `${words[result.state]}: ${result.n_done} of ${result.n_photos}, ${result.n_findings} findings ${result.note}`;
  element("cancel").hidden = !isOn || !isReviewer;
  showProgress(isOn ? result.n_done / result.n_photos : null);
  if (!isOn) return;
  const id = result.id;
  timer = setTimeout(async () => {
    const info = await tell(() => ask(`/v1/inspections/${id}`));
    if (result.id !== id) return;
    if (!info || (info.n_done === result.n_done && info.state === result.state)) return follow();
    await tell(() => show(id));
  }, 700);
}

function showProgress(share) {
  const bar = element("progress");
  bar.hidden = share === null;
  bar.value = share ?? 0;
}

// --- Photos in -------------------------------------------------------------------------------------------

async function addPhotos(files) {
  if (!files.length || !isReviewer) return;
  const kept = new Array(files.length);
  const refused = element("refused");
  refused.replaceChildren();
  let nDone = 0;
  const waiting = files.entries();
  const work = async () => {
    for (const [i, { file, name }] of waiting) {
      try {
        kept[i] = { photo: (await upload(file)).photo, name: name.slice(-500) };
      } catch (error) {
        refused.append(make("li", { textContent: `${name}: ${error.message}` }));
      }
      nDone += 1;
      say(`Uploading: ${nDone} of ${files.length}`);
      showProgress(nDone / files.length);
    }
  };
  await Promise.all(Array.from({ length: UPLOADS_AT_ONCE }, work));
  const photos = kept.filter(Boolean);
  say(`${photos.length} of ${files.length} photos uploaded`);
  showProgress(null);
  if (!photos.length) return;
  const model = element("models").value || null;
  const headers = { "Idempotency-Key": keyOf() };
  const begun = await tell(() => post("/v1/inspections", { photos, model }, headers));
  if (begun) await tell(() => listInspections(begun.id));
}

// Asked again after an answer was lost, the service begins nothing twice.
function keyOf() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(16)).join("-");
}

// --- Lists -----------------------------------------------------------------------------------------------

function showLists() {
  const nDecided = queue.filter((one) => one.finding.review).length;
  element("finding-count").textContent = queue.length ? `${nDecided} of ${queue.length} reviewed` : "none";
  element("findings").replaceChildren(...queue.map(findingRow));
  const nChecked = result.photos.filter((one) => one.checked).length;
  element("photo-count").textContent = `${nChecked} of ${result.photos.length} checked`;
  const worst = (one) => one.findings[0]?.score ?? (one.error || one.assessable === false ? 0 : -1);
  const sorted = [...result.photos].sort((a, b) => worst(b) - worst(a) || a.number - b.number);
  element("photos").replaceChildren(...sorted.map(photoRow));
  draw();
}

function findingRow(one) {
  const { finding: inner, photo: where } = one;
  const row = make("button", { onclick: () => choose(one) });
  const said = inner.review ? labelOf(inner) : "";
  const width = inner.width_max_mm ? `${inner.width_max_mm.toFixed(2)} mm wide` : sizeOf(inner);
  row.append(
    make("span", { className: "score", textContent: inner.score.toFixed(2) }),
    make(
      "span",
      { className: "where", textContent: inner.label },
      make("small", { textContent: `${width}, ${where.name}` }),
    ),
    make("span", { className: `tag ${inner.review?.verdict ?? ""}`, textContent: said }),
  );
  if (inner.id === finding?.id) row.setAttribute("aria-current", "true");
  return make("li", {}, row);
}

function labelOf({ review }) {
  return { accept: "accepted", reject: "rejected", relabel: review.label }[review.verdict] ?? "";
}

function sizeOf({ box_xyxy: [left, top, right, bottom] }) {
  return `${Math.round(right - left)} × ${Math.round(bottom - top)} px`;
}

function photoRow(one) {
  const row = make("button", { onclick: () => openPhoto(one) });
  const thumb = make("img", { alt: "", loading: "lazy" });
  if (one.width_px) thumb.src = `/v1/inspections/${result.id}/photos/${one.number}/thumb.jpg`;
  const count = one.findings.length + one.missed.length;
  const said = !one.is_done
    ? "waiting"
    : one.error || (one.assessable === false ? "not assessable" : `${count || "no"} finding${count === 1 ? "" : "s"}`);
  const where = make("span", { className: "where", textContent: one.name, title: one.name });
  where.append(make("small", { textContent: said, title: one.reason || said }));
  row.append(thumb, where, make("span", { className: "tag accept", textContent: one.checked ? "checked" : "" }));
  if (one.number === photo?.number) row.setAttribute("aria-current", "true");
  return make("li", {}, row);
}

function scrollToChosen() {
  const list = element("findings");
  const row = list.querySelector("[aria-current]");
  // Not on a phone, where the page would jump away from the photo.
  if (row && matchMedia("(min-width: 761px)").matches) row.scrollIntoView({ block: "nearest" });
}

// --- One photo -------------------------------------------------------------------------------------------

function openPhoto(one) {
  if (photo?.number !== one.number || !viewer.size) {
    const place = `/v1/inspections/${result.id}/photos/${one.number}`;
    if (one.width_px) {
      viewer.open(`/v1/photos/${one.photo}/image`, `${place}/heat.png`, [one.width_px, one.height_px]);
    } else {
      viewer.close();
    }
  } else {
    viewer.fit();
  }
  photo = one;
  finding = null;
  endMarking();
  showLists();
}

function choose(one) {
  if (photo?.number !== one.photo.number || !viewer.size) openPhoto(one.photo);
  finding = one.finding;
  viewer.focus(finding.box_xyxy);
  showLists();
  scrollToChosen();
}

function outlineOf({ polygon, box_xyxy: [left, top, right, bottom] }) {
  return polygon?.length >= 3 ? polygon : [[left, top], [right, top], [right, bottom], [left, bottom]];
}

function draw() {
  element("empty").hidden = Boolean(viewer.size);
  element("empty").textContent = photo?.error || (isReviewer ? "Drop photos or a folder here." : "No photo.");
  element("photo-name").textContent = photo ? `${photo.name}${photo.reason ? `: ${photo.reason}` : ""}` : "";
  for (const id of ["accept", "reject", "relabel"]) element(id).disabled = !finding;
  for (const id of ["mark", "checked"]) element(id).disabled = !photo?.width_px;
  element("checked").setAttribute("aria-pressed", Boolean(photo?.checked));
  if (!photo || !viewer.size) return;
  const flaws = photo.findings.map((one) => ({
    polygon: outlineOf(one),
    verdict: one.review?.verdict ?? "open",
    isChosen: one.id === finding?.id,
  }));
  const missed = photo.missed.map((one) => ({ polygon: one.polygon, verdict: "missed", isChosen: false }));
  viewer.draw([...flaws, ...missed], {
    outlines: element("show-outlines").checked,
    areas: element("show-areas").checked,
    heat: element("show-heat").checked,
    opacity: element("fade").value / 100,
  });
}

// The smallest finding below the pointer.
function pickAt([x, y]) {
  const holds = ({ box_xyxy: [left, top, right, bottom] }) => left <= x && x < right && top <= y && y < bottom;
  const area = ({ box_xyxy: [left, top, right, bottom] }) => (right - left) * (bottom - top);
  const hit = photo?.findings.filter(holds).sort((a, b) => area(a) - area(b))[0];
  if (!hit) return;
  finding = hit;
  showLists();
  scrollToChosen();
}

function step(by) {
  if (!queue.length) return;
  const at = queue.findIndex((one) => one.finding.id === finding?.id);
  choose(queue[at < 0 ? 0 : (at + by + queue.length) % queue.length]);
}

// --- Corrections -----------------------------------------------------------------------------------------

async function review(values) {
  const said = await tell(() => post("/v1/reviews", values));
  if (said) say("");
  return said;
}

async function decide(verdict, label = null) {
  if (!finding || !isReviewer) return;
  const decided = finding;
  const said = await review({ verdict, label, finding: decided.id });
  if (!said) return;
  decided.review = said;
  const at = queue.findIndex((one) => one.finding.id === decided.id);
  const later = [...queue.slice(at + 1), ...queue.slice(0, at)];
  const open = later.find((one) => !one.finding.review);
  if (open) choose(open);
  else showLists();
}

// Where a model sees flaws all over a photo, one key says no to all that nobody has judged yet.
async function rejectRest() {
  if (!photo || !isReviewer) return;
  for (const one of photo.findings.filter((inner) => !inner.review)) {
    const said = await review({ verdict: "reject", finding: one.id });
    if (!said) break;
    one.review = said;
  }
  showLists();
}

function askLabel(title, use) {
  const dialog = element("label-dialog");
  element("label-title").textContent = title;
  element("label-own").value = "";
  element("label-choices").replaceChildren(
    ...result.labels.map((label) => make("button", { value: `label:${label}`, textContent: label })),
  );
  dialog.returnValue = "";
  dialog.onclose = () => {
    const own = element("label-own").value.trim();
    const { returnValue } = dialog;
    const label = returnValue === "own" ? own : returnValue.replace(/^label:/, "");
    if (label) use(label);
    else draw();
  };
  dialog.showModal();
}

function relabel() {
  if (finding && isReviewer) askLabel("What is it?", (label) => decide("relabel", label));
}

function beginMarking() {
  if (!photo?.width_px || !isReviewer) return;
  isMarking = !isMarking;
  viewer.beginDrawing(isMarking);
  element("mark").setAttribute("aria-pressed", isMarking);
  say(isMarking ? "Draw around the flaw." : "");
}

function endMarking() {
  isMarking = false;
  viewer.beginDrawing(false);
  element("mark").setAttribute("aria-pressed", "false");
}

function markMissed(polygon) {
  const where = photo;
  endMarking();
  askLabel("What was missed?", async (label) => {
    const here = { inspection: result.id, number: where.number };
    const said = await review({ verdict: "missed", label, polygon, ...here });
    if (said) where.missed.push(said);
    showLists();
  });
}

async function checkPhoto() {
  if (!photo?.width_px || !isReviewer) return;
  const where = photo;
  if (where.findings.some((one) => !one.review)) {
    say("Accept or reject every finding of the photo first (Shift R rejects the rest).");
    return;
  }
  const values = where.checked
    ? { verdict: "withdrawn", of_review: where.checked.id }
    : { verdict: "checked", inspection: result.id, number: where.number };
  const said = await review(values);
  if (said) where.checked = said.verdict === "checked" ? said : null;
  showLists();
}

// --- Wiring ----------------------------------------------------------------------------------------------

function toggle(id) {
  element(id).checked = !element(id).checked;
  draw();
}

const KEYS = {
  n: () => step(1),
  ArrowRight: () => step(1),
  p: () => step(-1),
  ArrowLeft: () => step(-1),
  a: () => decide("accept"),
  r: () => decide("reject"),
  R: rejectRest,
  l: relabel,
  m: beginMarking,
  c: checkPhoto,
  f: () => viewer.fit(),
  "+": () => viewer.zoomBy(1.5),
  "-": () => viewer.zoomBy(1 / 1.5),
  1: () => toggle("show-outlines"),
  2: () => toggle("show-areas"),
  3: () => toggle("show-heat"),
  "?": () => element("help").showModal(),
  Escape: endMarking,
};

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("select, dialog, input:not([type=checkbox])");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key]();
});

const clicks = {
  previous: () => step(-1),
  next: () => step(1),
  accept: () => decide("accept"),
  reject: () => decide("reject"),
  relabel,
  mark: beginMarking,
  checked: checkPhoto,
  fit: () => viewer.fit(),
  "zoom-in": () => viewer.zoomBy(1.5),
  "zoom-out": () => viewer.zoomBy(1 / 1.5),
  "help-button": () => element("help").showModal(),
  cancel: () => tell(() => ask(`/v1/inspections/${result.id}/cancel`, { method: "POST" })),
};
for (const [id, work] of Object.entries(clicks)) element(id).addEventListener("click", work);
for (const id of ["show-outlines", "show-areas", "show-heat", "fade"]) element(id).addEventListener("input", draw);
element("inspections").addEventListener("change", (event) => tell(() => show(event.target.value)));
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

async function begin() {
  const models = await ask("/v1/models");
  const able = models.filter((one) => one.can_inspect);
  element("models").replaceChildren(...able.map((one) => make("option", { value: one.name, textContent: one.name })));
  if (!able.length) say(models[0].why_not);
  await listInspections();
  draw();
}

tell(begin);
