// The panel "Report": the survey's report of the inspection that is shown, written by the service.

import { ask, post } from "/static/api.js";
import { make, shown, whenChanged } from "/static/page.js";
import { openPanel } from "/static/panels.js";

const panel = document.querySelector("[data-panel=report]");
const FIELDS = ["structure", "element", "span", "organisation", "inspector", "date", "notes"];
const said = make("p", { role: "status" });
const list = make("div", { className: "wide" });
const form = make("form", { className: "for-reviewers" });
let listed = "";
let timer = 0;

function build() {
  for (const name of FIELDS) {
    const field = make("input", { name, maxLength: name === "notes" ? 2000 : 200, autocomplete: "off" });
    form.append(make("label", {}, name[0].toUpperCase() + name.slice(1), field));
  }
  form.elements.date.value = new Date().toLocaleDateString("sv"); // ISO 8601
  form.append(make("div", { className: "row" }, make("button", { textContent: "Write the report" }), said));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    write();
  });
  const about = make("p", {
    className: "soft",
    textContent: "The files that flawmap inspect writes, after your corrections: what was rejected is left out and "
      + "listed, what was relabelled has its new label, what was marked is there.",
  });
  panel.append(
    make("section", {}, make("h2", { textContent: "The survey's report" }), about, form),
    make("section", {}, make("h2", { textContent: "Written reports" }), list),
  );
}

async function write() {
  if (!shown.result) return;
  const values = Object.fromEntries(FIELDS.map((name) => [name, form.elements[name].value.trim()]));
  const button = form.querySelector("button");
  button.disabled = true;
  said.textContent = "";
  try {
    await post(`/v1/inspections/${shown.result.id}/report`, values);
    await showReports();
  } catch (error) {
    said.textContent = error.message;
  }
  button.disabled = false;
}

async function showReports() {
  clearTimeout(timer);
  if (!shown.result || openPanel() !== "report") return;
  const { id } = shown.result;
  let reports;
  try {
    reports = await ask(`/v1/inspections/${id}/reports`);
  } catch (error) {
    list.replaceChildren(make("p", { className: "wrong", textContent: error.message }));
    return;
  }
  if (shown.result.id !== id) return;
  listed = id;
  list.replaceChildren(reports.length ? table(reports) : make("p", { className: "soft", textContent: "None yet." }));
  if (reports.some((one) => one.state === "waiting")) timer = setTimeout(showReports, 1000);
}

function table(reports) {
  const rows = reports.map((one) => {
    const files = one.files.map((file) =>
      make("a", { href: `/v1/reports/${one.id}/${file}`, textContent: file, download: "" }));
    const state = one.state === "failed" ? make("span", { className: "wrong", textContent: one.note }) : "";
    const cell = make("td", {}, ...(one.state === "waiting" ? ["being written …"] : files), state);
    const at = new Date(one.created_at).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
    const who = make("td", { textContent: `${at}, ${one.created_by}` });
    return make("tr", {}, make("td", { textContent: one.title }), who, cell);
  });
  const head = ["Title", "Asked for", "Files"].map((text) => make("th", { textContent: text }));
  return make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}

build();
document.addEventListener("panel", () => showReports());
whenChanged(() => {
  const isOn = ["waiting", "running"].includes(shown.result?.state);
  form.querySelector("button").disabled = isOn || !shown.result;
  if (isOn) said.textContent = "A report can be written once the inspection has ended.";
  else if (said.textContent.startsWith("A report can")) said.textContent = "";
  if (shown.result && shown.result.id !== listed) showReports();
});
