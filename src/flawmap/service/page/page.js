// What the modules of the page share: its elements, its words, and what is shown.

export const element = (id) => document.getElementById(id);

export const isReviewer = document.body.dataset.role !== "viewer";

// The inspection, photo and finding that are shown, all findings in the order in which they are walked, and how
// many reviews were kept.
export const shown = { result: null, photo: null, finding: null, queue: [], nSaid: 0 };

const listeners = [];

// `show` is called whenever what is shown has changed.
export function whenChanged(show) {
  listeners.push(show);
}

export function changed() {
  for (const show of listeners) show();
}

export function make(tag, values = {}, ...children) {
  const node = Object.assign(document.createElement(tag), values);
  node.append(...children);
  return node;
}

export function say(text) {
  element("said").textContent = text;
}

// Does the work; where it is refused, says why and gives null.
export async function tell(work) {
  try {
    return await work();
  } catch (error) {
    say(error.message);
    return null;
  }
}
