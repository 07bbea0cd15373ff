// The part of the report's form that says how sizes are told: the scale, the grades, the parts.

import { ask } from "/static/api.js";
import { element, make } from "/static/page.js";

const { elements } = element("report-form");
const SCALES = { mm_per_px: ["mm_per_px"], distance: ["distance_m", "focal_mm", "sensor_width_mm"] };
let gradings = [];

// The tables that the service knows.
export async function offerGradings() {
  if (gradings.length) return;
  gradings = await ask("/v1/gradings");
  const options = gradings.map(({ name, title }) =>
    make("option", { value: name, textContent: title.split(":")[0] }));
  elements.grading.append(...options);
}

// What of it is asked for; what is left empty, or hidden, is not.
export function askedSizes() {
  const names = SCALES[elements.scale_by.value] ?? [];
  const numbers = names.map((name) => [name, elements[name].valueAsNumber]);
  const asked = Object.fromEntries(numbers.filter(([, value]) => !Number.isNaN(value)));
  if (names.length) asked.scale = elements.scale.value.trim();
  if (elements.grading.value) asked.grading = elements.grading.value;
  if (exposures().length) asked.exposure = elements.exposure.value;
  if (elements.parts.value) asked.parts = elements.parts.value;
  return asked;
}

const chosen = () => gradings.find(({ name }) => name === elements.grading.value);

const exposures = () => chosen()?.exposures ?? [];

function showScale() {
  const by = elements.scale_by.value;
  for (const part of document.querySelectorAll("#report-form [data-scale]")) {
    part.hidden = !part.dataset.scale.split(" ").includes(by);
  }
  elements.mm_per_px.required = by === "mm_per_px";
  elements.distance_m.required = by === "distance";
}

function showGrading() {
  const words = ({ name, words: said, width_mm }) => `${name}: ${width_mm} mm, ${said}`;
  elements.exposure.replaceChildren(
    ...exposures().map((one) => make("option", { value: one.name, textContent: words(one) })),
  );
  elements.exposure.closest("label").hidden = !exposures().length;
  element("grading-limits").textContent = chosen() ? `${chosen().title}. ${chosen().limits}` : "";
  element("grading-limits").hidden = !chosen();
}

elements.scale_by.addEventListener("change", showScale);
elements.grading.addEventListener("change", showGrading);
showScale();
