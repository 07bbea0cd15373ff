// The survey's report of the inspection that is shown, where the service writes reports.

import { ask, post } from "/static/api.js";
import { element, isReviewer, make, say, shown, tell, whenChanged } from "/static/page.js";
import { askedSizes, offerGradings } from "/static/sizes.js";

const FIELDS = ["structure", "element", "span", "organisation", "inspector", "date", "notes"];
const ASK_AGAIN_MS = 1000;
let isOffered = false;

// The interface's own description says whether there are reports.
export async function offerReports() {
  const { paths } = await ask("/openapi.json");
  isOffered = isReviewer && Object.keys(paths).some((path) => /^\/v1\/inspections\/\{\w+\}\/report$/.test(path));
  showButton();
}

function showButton() {
  const state = shown.result?.state;
  element("report-button").hidden = !isOffered || !(state === "done" || state === "cancelled");
}

function askForReport() {
  element("report-form").elements.date.value ||= new Date().toISOString().slice(0, 10);
  element("report-links").replaceChildren();
  tell(offerGradings);
  element("report-dialog").showModal();
}

async function writeReport() {
  const { elements } = element("report-form");
  const asked = Object.fromEntries(FIELDS.map((name) => [name, elements[name].value.trim()]));
  const path = `/v1/inspections/${shown.result.id}/report`;
  const begun = await tell(() => post(path, { ...asked, ...askedSizes() }));
  if (begun) await tell(() => waitFor(begun));
  else element("report-links").replaceChildren(make("span", { textContent: element("said").textContent }));
}

async function waitFor(report) {
  const links = element("report-links");
  links.replaceChildren(make("span", { textContent: "Being written …" }));
  let now = report;
  while (now.state === "waiting") {
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
    now = await ask(`/v1/reports/${report.id}`);
  }
  if (now.state !== "done") {
    links.replaceChildren(make("span", { textContent: now.note || "The report could not be written." }));
    return;
  }
  say("The report is written.");
  links.replaceChildren(
    ...now.files.map((file) => make("a", { href: `/v1/reports/${report.id}/${file}`, textContent: file })),
  );
  links.scrollIntoView({ block: "nearest" });
}

whenChanged(showButton);
element("report-button").addEventListener("click", askForReport);
element("report-form").addEventListener("submit", (event) => {
  if (event.submitter?.value !== "write") return;
  event.preventDefault(); // stays open until the files can be fetched
  writeReport();
});
