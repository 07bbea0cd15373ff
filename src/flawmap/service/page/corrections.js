// What people say of findings and photos. Nothing is overwritten: the latest word counts, all are kept.

import { post } from "/static/api.js";
import { outlining } from "/static/outlining.js";
import { changed, element, isReviewer, make, say, shown, tell, whenChanged } from "/static/page.js";
import { choose, flawsOf, holdsPhoto, viewer } from "/static/photo.js";

const here = () => ({ inspection: shown.result.id, number: shown.photo.number });

async function review(values) {
  const said = await tell(() => post("/v1/reviews", values).catch((error) => insist(error, values)));
  if (said) {
    say("");
    shown.nSaid += 1;
  }
  return said;
}

// A label that is spelled almost like a known one is kept only where it is meant.
function insist(error, values) {
  const isNew = error.status === 409 && values.label && !shown.result.labels.includes(values.label);
  const asked = `${error.message.split("?")[0]}?\n\nOK uses “${values.label}” as a new label.`;
  if (!isNew || !error.message.includes("did you mean") || !confirm(asked)) throw error;
  return post("/v1/reviews", { ...values, is_new_label: true });
}

// The result may have been read anew while a review was on its way: what is said belongs to what is shown now.
const photoNow = (photo) => shown.result.photos.find((one) => one.number === photo.number) ?? photo;
const findingNow = (photo, finding) => photoNow(photo).findings.find((one) => one.id === finding.id) ?? finding;

export async function decide(verdict, values = {}) {
  const { photo, finding } = shown;
  if (!finding || !isReviewer) return;
  if (finding.missed) {
    await decideAdded(verdict, values);
    return;
  }
  if (finding.review?.runs && verdict !== "reject") { // the painted mask stays
    if (verdict === "accept") {
      goOn();
      return;
    }
    values = { runs: finding.review.runs, ...values };
    verdict = "painted";
  }
  if (verdict === "painted") values = { label: finding.review?.label ?? null, ...values };
  const said = await review({ verdict, finding: finding.id, ...values });
  if (!said) return;
  findingNow(photo, finding).review = said;
  goOn();
}

// A flaw that a person added is taken back by rejecting it, and takes another label or mask by being added anew.
async function decideAdded(verdict, values) {
  const { photo, finding: { missed } } = shown;
  if (verdict === "accept") return;
  if (verdict !== "reject") {
    const { label, polygon, runs } = missed;
    const mask = values.runs ? { runs: values.runs } : { polygon, runs };
    const added = await review({ verdict: "missed", ...here(), ...mask, label: values.label ?? label });
    if (!added) return;
    photoNow(photo).missed.push(added);
  }
  if (!(await review({ verdict: "withdrawn", of_review: missed.id }))) return;
  photoNow(photo).missed = photoNow(photo).missed.filter((one) => one.id !== missed.id);
  shown.finding = null;
  changed();
}

// To the next finding that nobody has judged.
function goOn() {
  const { queue, finding } = shown;
  const at = queue.findIndex((one) => one.finding === finding);
  const open = [...queue.slice(at + 1), ...queue.slice(0, at)].find((one) => !one.finding.review);
  if (open) choose(open);
  else changed();
}

// Where a model sees flaws all over a photo, one key says no to all that nobody has judged yet.
export async function rejectRest() {
  const { photo } = shown;
  if (!photo || !isReviewer || holdsPhoto()) return;
  for (const one of photo.findings.filter((inner) => !inner.review)) {
    const said = await review({ verdict: "reject", finding: one.id });
    if (!said) break;
    findingNow(photo, one).review = said;
  }
  changed();
}

export function relabel() {
  if (shown.finding && isReviewer) askLabel("What is it?", (label) => decide("relabel", { label }));
}

function askLabel(title, use) {
  const dialog = element("label-dialog");
  element("label-title").textContent = title;
  element("label-own").value = "";
  element("label-choices").replaceChildren(
    ...shown.result.labels.map((label) => make("button", { value: `label:${label}`, textContent: label })),
  );
  dialog.returnValue = "";
  dialog.onclose = () => {
    const own = element("label-own").value.trim();
    const { returnValue } = dialog;
    const label = returnValue === "own" ? own : returnValue.replace(/^label:/, "");
    if (label) use(label);
    else changed();
  };
  dialog.showModal();
}

// `mask`: {polygon} or {runs}.
export function markMissed(mask) {
  const photo = shown.photo;
  const where = here();
  askLabel("What was missed?", async (label) => {
    const said = await review({ verdict: "missed", label, ...mask, ...where });
    if (!said) return;
    const now = photoNow(photo);
    now.missed.push(said);
    if (shown.photo === now) shown.finding = flawsOf(now).find((one) => one.missed === said);
    changed();
  });
}

export function toggleOutlining() {
  if (!shown.photo?.width_px || !isReviewer || holdsPhoto()) return;
  if (viewer.tool) {
    endOutlining();
    return;
  }
  viewer.tool = outlining((polygon) => {
    endOutlining();
    markMissed({ polygon });
  });
  say("Draw around the flaw.");
  changed();
}

export function endOutlining() {
  if (!viewer.tool || holdsPhoto()) return;
  viewer.tool = null;
  say("");
  changed();
}

export async function checkPhoto() {
  const { photo } = shown;
  if (!photo?.width_px || !isReviewer) return;
  if (photo.findings.some((one) => !one.review)) {
    say("Accept or reject every finding of the photo first (Shift R rejects the rest).");
    return;
  }
  const values = photo.checked
    ? { verdict: "withdrawn", of_review: photo.checked.id }
    : { verdict: "checked", ...here() };
  const said = await review(values);
  if (said) photoNow(photo).checked = said.verdict === "checked" ? said : null;
  changed();
}

function showButtons() {
  const { photo, finding } = shown;
  for (const id of ["accept", "reject", "relabel"]) element(id).disabled = !finding;
  for (const id of ["mark", "paint", "checked"]) element(id).disabled = !photo?.width_px;
  element("paint").textContent = finding ? "Correct mask" : "Paint missed";
  element("mark").setAttribute("aria-pressed", Boolean(viewer.tool) && !holdsPhoto());
  element("checked").setAttribute("aria-pressed", Boolean(photo?.checked));
}

whenChanged(showButtons);
