// Photos in, and the inspections that look at them.

import { ask, post, upload } from "/static/api.js";
import { changed, element, isReviewer, make, say, shown, tell } from "/static/page.js";
import { choose, holdsPhoto, openPhoto, viewer } from "/static/photo.js";

const UPLOADS_AT_ONCE = 3;
let timer = 0;
let isUnchosen = false; // the photo was shown for want of a finding, and gives way to the first one

export async function listInspections(chosen) {
  const found = await ask("/v1/inspections");
  const select = element("inspections");
  select.replaceChildren(
    ...found.map((one) => make("option", { value: one.id, textContent: titleOf(one) })),
  );
  select.parentElement.hidden = !found.length;
  if (!found.length) return;
  select.value = chosen ?? found[0].id;
  await showInspection(select.value);
}

function titleOf(info) {
  const at = new Date(info.created_at).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
  return `${at}, ${info.n_photos} photo${info.n_photos === 1 ? "" : "s"}, ${info.model}`;
}

export async function showInspection(id) {
  const { nSaid } = shown;
  const found = await ask(`/v1/inspections/${id}/result`);
  if (nSaid !== shown.nSaid) { // a review was kept meanwhile and may not be in it
    await showInspection(id);
    return;
  }
  if (holdsPhoto()) { // the mask being painted belongs to what is shown; what is new is shown after it
    timer = setTimeout(() => tell(() => showInspection(id)), 700);
    return;
  }
  const isOther = shown.result?.id !== id;
  shown.result = found;
  shown.queue = found.photos
    .flatMap((photo) => photo.findings.map((finding) => ({ photo, finding })))
    .sort((a, b) => b.finding.score - a.finding.score);
  if (isOther) {
    shown.photo = shown.finding = null;
    viewer.close();
  } else {
    shown.photo = found.photos.find((one) => one.number === shown.photo?.number) ?? null;
    shown.finding = shown.photo?.findings.find((one) => one.id === shown.finding?.id) ?? null;
  }
  if (!shown.photo || (isUnchosen && !shown.finding)) openWorst();
  changed();
  follow();
}

function openWorst() {
  const { queue, result } = shown;
  const readable = result.photos.find((one) => one.width_px);
  isUnchosen = !queue.length;
  if (queue.length) choose(queue[0]);
  else if (readable && !shown.photo) openPhoto(readable);
}

function follow() {
  clearTimeout(timer);
  const { id, state, note, n_done: nDone, n_photos: nPhotos, n_findings: nFindings } = shown.result;
  const isOn = state === "waiting" || state === "running";
  const words = { waiting: "waiting", running: "looking", done: "done", cancelled: "stopped" };
  const found = `${nFindings} finding${nFindings === 1 ? "" : "s"}`;
  element("state").textContent = `${words[state]}: ${nDone} of ${nPhotos}, ${found} ${note}`;
  element("cancel").hidden = !isOn || !isReviewer;
  showProgress(isOn ? nDone / nPhotos : null);
  if (!isOn) return;
  timer = setTimeout(async () => {
    const info = await tell(() => ask(`/v1/inspections/${id}`));
    if (shown.result.id !== id) return;
    if (!info || (info.n_done === shown.result.n_done && info.state === shown.result.state)) follow();
    else await tell(() => showInspection(id));
  }, 700);
}

function showProgress(share) {
  const bar = element("progress");
  bar.hidden = share === null;
  bar.value = share ?? 0;
}

export function cancelInspection() {
  return tell(() => ask(`/v1/inspections/${shown.result.id}/cancel`, { method: "POST" }));
}

// `files`: [{file, name}]. What cannot be kept is listed with the reason, and the rest goes on.
export async function addPhotos(files) {
  if (!files.length || !isReviewer) return;
  const photos = await uploadAll(files);
  say(`${photos.length} of ${files.length} photos uploaded`);
  showProgress(null);
  if (!photos.length) return;
  const model = element("models").value || null;
  const headers = { "Idempotency-Key": newKey() };
  const begun = await tell(() => post("/v1/inspections", { photos, model }, headers));
  if (begun) await tell(() => listInspections(begun.id));
}

async function uploadAll(files) {
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
  return kept.filter(Boolean);
}

// Asked again after an answer was lost, the service begins nothing twice.
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(16)).join("-");
}
