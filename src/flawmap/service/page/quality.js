// The panel "Quality": how good the model is on these photos, what to look at next, drift, the watched folder.

import { ask, post } from "/static/api.js";
import { isReviewer, make, shown, whenChanged } from "/static/page.js";
import { openPanel, showPanel } from "/static/panels.js";
import { openPhoto } from "/static/photo.js";

const panel = document.querySelector("[data-panel=quality]");
const parts = { sample: make("div", {}), queue: make("div", {}), drift: make("div", {}), watch: make("div", {}) };
const order = make("select", { ariaLabel: "Order" });
const said = make("p", { className: "wrong", role: "status" });
let sample = null;
let showing = "";

function build() {
  for (const [value, text] of [
    ["worst", "worst first"],
    ["uncertain", "most uncertain first"],
    ["different", "most different from what was seen first"],
  ]) order.append(make("option", { value, textContent: text }));
  order.addEventListener("change", () => told(showQueue));
  const section = (title, ...inner) => make("section", {}, make("h2", { textContent: title }), ...inner);
  const soft = (textContent) => make("p", { className: "soft", textContent });
  panel.append(
    said,
    section("How good the model is on these photos", parts.sample),
    section(
      "What to look at next",
      soft("An order for your work. Rates among the first ones are not those of the photos."),
      make("div", { className: "row" }, order),
      parts.queue,
    ),
    section("Are the photos still alike?", parts.drift),
    section("Watched folder", parts.watch),
  );
}

async function told(work) {
  try {
    said.textContent = "";
    return await work();
  } catch (error) {
    said.textContent = error.message;
    return null;
  }
}

function sentence(text) {
  return make("p", { className: "soft", textContent: `${text[0].toUpperCase()}${text.slice(1)}.` });
}

// --- The random sample -----------------------------------------------------------------------------------

async function showSample() {
  const { id } = shown.result;
  [sample = null] = await ask(`/v1/samples?inspection=${id}`);
  if (shown.result.id !== id) return;
  if (!sample) parts.sample.replaceChildren(...drawing());
  else await showNext();
}

function drawing() {
  const n = make("input", { type: "number", min: 1, max: 5000, value: 100, ariaLabel: "Photos to draw" });
  const button = make("button", { textContent: "Draw photos", type: "button", disabled: !isReviewer });
  button.onclick = () => told(async () => {
    sample = await post("/v1/samples", { inspection: shown.result.id, n: Number(n.value) });
    await showNext();
  });
  const text = "Photos are drawn by lot, once. You say of each whether it shows a flaw, without the model's answer; "
    + "only this tells how often the model is right here.";
  return [make("p", { className: "soft", textContent: text }), make("div", { className: "row" }, n, button)];
}

async function showNext() {
  const { id } = sample;
  const next = sample.photos.find((one) => one.answer === null);
  const nDone = sample.photos.filter((one) => one.answer !== null).length;
  const progress = make("p", { textContent: `${nDone} of ${sample.photos.length} answered` });
  const inner = make("div", {});
  const showFigures = () => told(async () => {
    inner.replaceChildren(...figures(await ask(`/v1/samples/${id}/estimate`)));
  });
  parts.sample.replaceChildren(progress, ...(next && isReviewer ? question(next) : []), inner);
  // Figures after every answer would tell what the model said.
  if (!next) await showFigures();
  else if (nDone) {
    inner.append(make("button", { type: "button", textContent: "Figures so far", onclick: showFigures }));
  }
}

function question(drawn) {
  const row = make("div", { className: "row answers" });
  for (const [answer, text] of [["flaw", "A flaw"], ["good", "No flaw"], ["unclear", "Cannot tell"]]) {
    row.append(make("button", { type: "button", textContent: text, onclick: () => give(drawn, answer) }));
  }
  const image = make("img", { className: "drawn", alt: "The drawn photo", src: `/v1/photos/${drawn.photo}/image` });
  return [image, row];
}

function give(drawn, answer) {
  return told(async () => {
    await post(`/v1/samples/${sample.id}/photos/${drawn.number}/answer`, { answer });
    drawn.answer = answer;
    await showNext();
  });
}

function figures(estimate) {
  const per = (share) => `${(100 * share).toFixed(0)} %`;
  const rows = [
    ["recall", "Of the flawed photos, the model finds"],
    ["precision", "Of the photos with a finding, flawed are"],
    ["accuracy", "Of all photos, right are"],
    ["flawed", "Of all photos, flawed are"],
  ].map(([key, words]) => {
    const rate = estimate[key];
    const value = rate.value === null ? "–" : per(rate.value);
    const span = rate.value === null ? "" : `${per(rate.low)} to ${per(rate.high)}`;
    const few = rate.is_reliable ? "" : `too few (${rate.n})`;
    return make("tr", {}, make("td", { textContent: words }), make("td", { className: "n", textContent: value }),
      make("td", { className: "n", textContent: span }), make("td", { className: "wrong", textContent: few }));
  });
  const head = ["", "Rate", "95 % interval", ""].map((text) => make("th", { textContent: text, className: "n" }));
  const notes = estimate.notes.map(sentence);
  return [make("div", { className: "wide" }, make("table", {}, make("tr", {}, ...head), ...rows)), ...notes];
}

// --- Orders ----------------------------------------------------------------------------------------------

async function showQueue() {
  const { id, photos } = shown.result;
  const queue = await ask(`/v1/inspections/${id}/queue?order=${order.value}`);
  if (shown.result.id !== id) return;
  const known = new Map(photos.map((one) => [one.number, one]));
  const rows = queue.photos.slice(0, 100).map((one) => {
    const photo = known.get(one.number);
    const thumb = make("img", { alt: "", loading: "lazy" });
    if (photo?.width_px) thumb.src = `/v1/inspections/${id}/photos/${one.number}/thumb.jpg`;
    const tag = make("span", { className: "tag accept", textContent: photo?.checked ? "checked" : "" });
    const where = make("span", { className: "where", textContent: one.name });
    const button = make("button", { type: "button" }, thumb, where, tag);
    button.onclick = () => {
      showPanel("photos");
      if (photo) openPhoto(photo);
    };
    return make("li", {}, button);
  });
  parts.queue.replaceChildren(make("ol", { className: "list" }, ...rows));
}

// --- Drift and the watched folder ------------------------------------------------------------------------

const NAMES = {
  flaw_score: "highest score",
  "window score": "score",
  "window features": "features",
};

async function showDrift() {
  const drift = await ask(`/v1/drift?model=${encodeURIComponent(shown.result.model)}`).catch(() => null);
  if (!drift) {
    const words = "The model of this inspection is not served.";
    parts.drift.replaceChildren(make("p", { className: "soft", textContent: words }));
    return;
  }
  const words = {
    alike: "The latest photos show no drift.",
    alarm: "The latest photos differ from the reference or from the training set.",
    "too few photos": "Too few photos to tell.",
  };
  const verdict = make("p", { className: drift.state === "alarm" ? "wrong" : "", textContent: words[drift.state] });
  const about = drift.n_latest
    ? `${drift.n_latest} latest photos against ${drift.reference} (${drift.n_reference}).`
    : `Held against ${drift.reference} (${drift.n_reference}): no later photos yet.`;
  parts.drift.replaceChildren(
    verdict,
    make("p", { textContent: about }),
    ...measured(drift.measures, "Reference"),
    ...againstTraining(drift),
    ...drift.notes.map(sentence),
  );
  parts.drift.parentElement.classList.toggle("alarm", drift.state === "alarm");
}

function measured(measures, against) {
  if (!measures.length) return [];
  const rows = measures.map((one) => make(
    "tr", {},
    make("td", { textContent: NAMES[one.name] ?? one.name }),
    make("td", { className: "n", textContent: one.reference_mean.toFixed(2) }),
    make("td", { className: "n", textContent: one.latest_mean.toFixed(2) }),
    make("td", { className: "n", textContent: one.statistic.toFixed(2) }),
    make("td", { className: "wrong", textContent: one.is_alarm ? "differs" : "" }),
  ));
  const head = ["", against, "Latest", "Difference", ""]
    .map((text) => make("th", { textContent: text, className: "n" }));
  return [make("div", { className: "wide" }, make("table", {}, make("tr", {}, ...head), ...rows))];
}

function againstTraining({ foreign, training }) {
  const per = (share) => `${(100 * share).toFixed(0)} %`;
  const found = [];
  if (training) {
    const text = `${training.n_latest} latest photos, one window of each, against the model's training set: `
      + `${training.n_flawed} flawed and ${training.n_good} good photos that training never read, `
      + `mixed as ${per(training.share_flawed)} flawed.`;
    found.push(make("p", { textContent: text }), ...measured(training.measures, "Training set"));
  }
  if (foreign) {
    const text = `${per(foreign.value)} of the ${foreign.n} latest photos are mostly unlike the training photos.`;
    found.push(make("p", { textContent: text }));
  }
  return found;
}

async function showWatch() {
  const watch = await ask("/v1/watch");
  parts.watch.parentElement.hidden = watch.folder === null;
  if (watch.folder === null) return;
  const state = watch.is_there ? "" : " It is not there at the moment.";
  const many = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
  const text = `${watch.folder}: ${many(watch.n_taken, "photo")} taken up, ${many(watch.n_refused, "file")} refused, `
    + `${watch.n_waiting} not complete yet.${state}`;
  const refused = watch.refused.map((one) => make("li", { textContent: `${one.path}: ${one.reason}` }));
  parts.watch.replaceChildren(make("p", { textContent: text }), make("ul", { className: "list" }, ...refused));
}

async function showAll() {
  if (openPanel() !== "quality") return;
  await told(async () => {
    await showWatch();
    if (!shown.result) return;
    showing = `${shown.result.id} ${shown.result.state}`;
    await Promise.all([showSample(), showQueue(), showDrift()]);
  });
}

build();
document.addEventListener("panel", showAll);
whenChanged(() => {
  if (shown.result && `${shown.result.id} ${shown.result.state}` !== showing) showAll();
});
