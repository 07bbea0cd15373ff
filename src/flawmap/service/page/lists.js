// The lists beside the photo: findings, worst first, and photos.

import { element, make, shown, whenChanged } from "/static/page.js";
import { choose, openPhoto } from "/static/photo.js";

function showLists() {
  const { result, queue } = shown;
  if (!result) return;
  const nDecided = queue.filter((one) => one.finding.review).length;
  element("finding-count").textContent = queue.length ? `${nDecided} of ${queue.length} reviewed` : "none";
  element("findings").replaceChildren(...queue.map(findingRow));
  const nChecked = result.photos.filter((one) => one.checked).length;
  element("photo-count").textContent = `${nChecked} of ${result.photos.length} checked`;
  const worst = (one) => one.findings[0]?.score ?? (one.error || one.assessable === false ? 0 : -1);
  const sorted = [...result.photos].sort((a, b) => worst(b) - worst(a) || a.number - b.number);
  element("photos").replaceChildren(...sorted.map(photoRow));
  scrollToChosen();
}

function findingRow(one) {
  const { finding, photo } = one;
  const row = make("button", { onclick: () => goTo(choose, one) });
  const said = finding.review ? wordOf(finding.review) : "";
  const width = finding.width_max_mm ? widthOf(finding) : sizeOf(finding);
  row.append(
    make("span", { className: "score", textContent: scoreOf(finding) }),
    make(
      "span",
      { className: "where", textContent: finding.label },
      make("small", { textContent: `${width}, ${photo.name}`, title: photo.name }),
    ),
    make("span", { className: `tag ${finding.review?.verdict ?? ""}`, textContent: said }),
  );
  if (finding === shown.finding) row.setAttribute("aria-current", "true");
  return make("li", {}, row);
}

function wordOf({ verdict, label }) {
  return { accept: "accepted", reject: "rejected", relabel: label, painted: "mask painted" }[verdict] ?? "";
}

// Three digits and cut, not rounded: no model is certain, and findings near 1 have an order.
function scoreOf({ score }) {
  return (Math.floor(Math.min(score, 0.9999) * 1000) / 1000).toFixed(3);
}

function widthOf({ is_resolved, width_max_mm, smallest_width_mm }) {
  return is_resolved ? `${width_max_mm.toFixed(2)} mm wide` : `under ${smallest_width_mm.toFixed(2)} mm wide`;
}

function sizeOf({ box_xyxy: [left, top, right, bottom] }) {
  return `${Math.round(right - left)} × ${Math.round(bottom - top)} px`;
}

function photoRow(one) {
  const row = make("button", { onclick: () => goTo(openPhoto, one) });
  const thumb = make("img", { alt: "", loading: "lazy" });
  if (one.width_px) thumb.src = `/v1/inspections/${shown.result.id}/photos/${one.number}/thumb.jpg`;
  const where = make("span", { className: "where", textContent: one.name, title: one.name });
  where.append(make("small", { textContent: stateOf(one), title: one.reason || stateOf(one) }));
  row.append(thumb, where, make("span", { className: "tag accept", textContent: one.checked ? "checked" : "" }));
  if (one.number === shown.photo?.number) row.setAttribute("aria-current", "true");
  return make("li", {}, row);
}

function stateOf(one) {
  if (!one.is_done) return "waiting";
  if (one.error) return one.error;
  if (one.assessable === false) return "not assessable";
  const count = one.findings.length;
  const found = `${count || "no"} finding${count === 1 ? "" : "s"}`;
  return one.missed.length ? `${found}, ${one.missed.length} marked` : found;
}

const isPhone = () => matchMedia("(max-width: 760px)").matches;

function scrollToChosen() {
  const row = element("findings").querySelector("[aria-current]");
  // Not on a phone, where the page would jump away from the photo.
  if (row && !isPhone()) row.scrollIntoView({ block: "nearest" });
}

// On a phone the lists stand below the photo, which would change unseen.
function goTo(show, one) {
  show(one);
  if (isPhone()) element("viewer").scrollIntoView();
}

whenChanged(showLists);
