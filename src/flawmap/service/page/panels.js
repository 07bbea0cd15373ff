// Panels: a button of the navigation shows the section of its name, and so does the address's #name.
//
// A module that fills a panel listens for the event "panel" on the document; its detail is the panel's name.

const sections = [...document.querySelectorAll("[data-panel]")];
const buttons = [...document.querySelectorAll("#panels button")];

export const openPanel = () => sections.find((one) => !one.hidden)?.dataset.panel;

export function showPanel(name) {
  const wanted = sections.some((one) => one.dataset.panel === name) ? name : sections[0].dataset.panel;
  for (const section of sections) section.hidden = section.dataset.panel !== wanted;
  for (const button of buttons) {
    if (button.value === wanted) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  document.dispatchEvent(new CustomEvent("panel", { detail: wanted }));
}

for (const button of buttons) {
  button.addEventListener("click", () => {
    history.replaceState(null, "", `#${button.value}`);
    showPanel(button.value);
  });
}
addEventListener("hashchange", () => showPanel(location.hash.slice(1)));
showPanel(location.hash.slice(1));
