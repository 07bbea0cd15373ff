// The panel "Reports": what was written of the inspection that is shown, to be fetched.

import { ask } from "/static/api.js";
import { make, shown, whenChanged } from "/static/page.js";
import { openPanel } from "/static/panels.js";

const panel = document.querySelector("[data-panel=reports]");
const list = make("div", { className: "wide" });
let timer = 0;

function build() {
  const about = make("p", {
    className: "soft",
    textContent: "The files that flawmap inspect writes, after your corrections: what was rejected is left out and "
      + "listed, what was relabelled has its new label, what was marked is there. The button Report writes one, once "
      + "the inspection has ended.",
  });
  panel.append(make("section", {}, make("h2", { textContent: "Reports of the inspection" }), about, list));
}

async function showReports() {
  clearTimeout(timer);
  if (!shown.result || openPanel() !== "reports") return;
  const { id } = shown.result;
  let reports;
  try {
    reports = await ask(`/v1/inspections/${id}/reports`);
  } catch (error) {
    list.replaceChildren(make("p", { className: "wrong", textContent: error.message }));
    return;
  }
  if (shown.result.id !== id) return;
  const none = make("p", { className: "soft", textContent: "None yet." });
  list.replaceChildren(reports.length ? table(reports) : none);
  timer = setTimeout(showReports, reports.some((one) => one.state === "waiting") ? 1000 : 5000);
}

function table(reports) {
  const rows = reports.map((one) => {
    const files = one.files.map((file) =>
      make("a", { href: `/v1/reports/${one.id}/${file}`, textContent: file, download: "" }));
    const state = one.state === "failed" ? make("span", { className: "wrong", textContent: one.note }) : "";
    const cell = make("td", {}, ...(one.state === "waiting" ? ["being written …"] : files), state);
    const at = new Date(one.created_at).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
    const who = make("td", { textContent: `${at}, ${one.created_by}` });
    const sizes = one.sizes ? [make("small", { textContent: one.sizes })] : [];
    return make("tr", {}, make("td", {}, one.title, ...sizes), who, cell);
  });
  const head = ["Title", "Asked for", "Files"].map((text) => make("th", { textContent: text }));
  return make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}

build();
document.addEventListener("panel", showReports);
whenChanged(showReports);
