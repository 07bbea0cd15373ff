// The panel "Models": which one is in use, and where two differ on the same photos.

import { ask, post } from "/static/api.js";
import { isReviewer, make, shown, whenChanged } from "/static/page.js";
import { showInspection } from "/static/inspections.js";
import { openPanel, showPanel } from "/static/panels.js";
import { openPhoto } from "/static/photo.js";

const panel = document.querySelector("[data-panel=models]");
const isAdmin = document.body.dataset.role === "admin";
const list = make("div", { className: "wide" });
const said = make("p", { className: "wrong", role: "status" });
const other = make("select", {});
const begin = make("button", { textContent: "Compare", type: "button" });
const row = make("div", { className: "row for-reviewers" }, make("label", {}, "Other model ", other), begin);
const lone = make("p", { textContent: "There is none: name two or more models when you start flawmap serve." });
const found = make("div", {});
let timer = 0;
let compared = null; // {first, second}: inspections

function build() {
  const about = make("p", {
    className: "soft",
    textContent: "Have another model look at the photos of the inspection that is shown. Agreement is not "
      + "correctness: both may be wrong.",
  });
  const note = make("p", {
    className: "soft",
    textContent: "* In its own test, on photos like those of its training; of a model with masks, by pixels.",
  });
  begin.addEventListener("click", compare);
  panel.append(
    make("section", {}, make("h2", { textContent: "Served models" }), list, note, said),
    make("section", {}, make("h2", { textContent: "Compare on the same photos" }), about, row, lone, found),
  );
}

async function told(work) {
  said.textContent = "";
  try {
    return await work();
  } catch (error) {
    said.textContent = error.message;
    return null;
  }
}

async function showModels() {
  if (openPanel() !== "models") return;
  const models = await told(() => ask("/v1/models"));
  if (!models) return;
  list.replaceChildren(table(models));
  const usable = models.filter((one) => one.can_inspect && one.name !== shown.result?.model);
  other.replaceChildren(...usable.map((one) => make("option", { value: one.name, textContent: one.name })));
  row.hidden = !usable.length;
  lone.hidden = usable.length > 0;
  begin.disabled = !usable.length || !shown.result || !isReviewer;
}

function table(models) {
  const share = (value) => (typeof value === "number" ? `${(100 * value).toFixed(1)}\u00a0%` : "–");
  const rows = models.map((one) => {
    const use = make("button", { textContent: "Use", type: "button", onclick: () => useModel(one.name) });
    const state = one.is_default ? make("strong", { textContent: "in use" }) : isAdmin ? use : "";
    const flaws = one.labels.filter((label) => !one.good_labels.includes(label)).join(", ");
    return make(
      "tr", {},
      make("td", { textContent: one.name }),
      make("td", { textContent: `${one.task}: ${flaws}` }),
      make("td", { className: "n", textContent: share(one.test.recall) }),
      make("td", { className: "n", textContent: share(one.test.precision) }),
      make("td", { textContent: one.can_inspect ? "" : one.why_not }),
      make("td", {}, state),
    );
  });
  const head = ["Model", "Looks for", "Recall*", "Precision*", "", ""].map((text, i) =>
    make("th", { textContent: text, className: i === 2 || i === 3 ? "n" : "" }));
  return make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}

async function useModel(name) {
  if (await told(() => ask(`/v1/models/${encodeURIComponent(name)}/use`, { method: "POST" }))) await showModels();
}

async function compare() {
  const begun = await told(() =>
    post("/v1/comparisons", { inspection: shown.result.id, model: other.value }));
  if (!begun) return;
  compared = begun;
  await showComparison();
}

async function showComparison() {
  clearTimeout(timer);
  if (!compared || openPanel() !== "models") return;
  const { first, second } = compared;
  const one = await told(() => ask(`/v1/comparisons/${first.id}/${second.id}`));
  if (!one || compared.second.id !== second.id) return;
  found.replaceChildren(...summary(one, first.model, second.model), photos(one, first));
  if (one.n_compared < one.n_photos) timer = setTimeout(showComparison, 1500);
}

function summary(one, first, second) {
  const cell = (n) => make("td", { className: "n", textContent: n });
  const head = (text) => make("th", { textContent: text, className: text.startsWith(second) ? "n" : "" });
  const counts = make(
    "table", {},
    make("tr", {}, head(""), head(`${second}: finding`), head(`${second}: no finding`)),
    make("tr", {}, head(`${first}: finding`), cell(one.both_find), cell(one.first_only)),
    make("tr", {}, head(`${first}: no finding`), cell(one.second_only), cell(one.neither_finds)),
  );
  const { value, low, high, n } = one.agreement;
  const per = (share) => (100 * share).toFixed(0);
  const agreed = value === null
    ? "No photo was judged by both yet."
    : `They agree on ${per(value)} % of ${n} photos (95 %: ${per(low)} to ${per(high)} %)`
      + (one.kappa === null ? "." : `; kappa ${one.kappa.toFixed(2)}, where 0 is chance.`);
  const done = one.n_compared < one.n_photos ? ` ${one.n_compared} of ${one.n_photos} photos compared so far.` : "";
  return [make("div", { className: "wide" }, counts), make("p", { textContent: agreed + done })];
}

function photos(one, first) {
  const rows = one.photos.map((photo) => {
    const place = `/v1/inspections/${first.id}/photos/${photo.number}`;
    const thumb = make("img", { alt: "", loading: "lazy", src: `${place}/thumb.jpg` });
    const where = make("span", { className: "where", textContent: photo.name });
    const n = (verdict, count) => (verdict === "finding" ? `${count} finding${count === 1 ? "" : "s"}` : verdict);
    const verdicts = `${n(photo.first, photo.n_first)} · ${n(photo.second, photo.n_second)}`;
    where.append(make("small", { textContent: verdicts }));
    const tag = make("span", { className: "tag warn", textContent: photo.is_different ? "differ" : "" });
    const button = make("button", { type: "button", onclick: () => open(first.id, photo.number) }, thumb, where, tag);
    return make("li", {}, button);
  });
  return make("ol", { className: "list" }, ...rows);
}

async function open(id, number) {
  if (shown.result?.id !== id) await showInspection(id);
  showPanel("photos");
  const photo = shown.result.photos.find((one) => one.number === number);
  if (photo) openPhoto(photo);
}

build();
document.addEventListener("panel", async () => {
  await showModels();
  await showComparison();
});
whenChanged(() => {
  if (compared && shown.result?.id !== compared.first.id) {
    compared = null;
    found.replaceChildren();
  }
  showModels();
});
