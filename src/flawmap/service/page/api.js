// The REST interface, and files that are dropped.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

// Asks, and asks again where the service is full, as often as it says.
export async function ask(path, options = {}, nTries = 20) {
  const answer = await fetch(path, options).catch(() => null);
  const isBusy = !answer || answer.status === 429 || answer.status === 503;
  if (isBusy && nTries > 1) {
    await pause(Number(answer?.headers.get("Retry-After")) || 1);
    return ask(path, options, nTries - 1);
  }
  if (!answer) throw new Refused(0, "the service does not answer");
  if (answer.status === 401) location.assign("/login");
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new Refused(answer.status, said.detail ?? `refused (${answer.status})`);
  }
  return said;
}

export function post(path, values, headers = {}) {
  return ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(values),
  });
}

export function upload(file) {
  const form = new FormData();
  form.append("photo", file);
  return ask("/v1/photos", { method: "POST", body: form });
}

// All files of a drop, folders with all that is in them: [{file, name}].
export async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, name: file.name }));
  const found = [];
  for (const entry of entries) await walk(entry, "", found);
  return found.sort((a, b) => a.name.localeCompare(b.name));
}

async function walk(entry, place, found) {
  const name = place + entry.name;
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ file, name });
    return;
  }
  const reader = entry.createReader();
  for (;;) { // a reader gives at most a hundred entries at once
    const inner = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!inner.length) return;
    for (const one of inner) await walk(one, `${name}/`, found);
  }
}
