// The photo at any scale, with its layers: outlines, masks and heat in pixels of the upright photo.

const SVG = "http://www.w3.org/2000/svg";
const MOST_ZOOM = 40;
const element = (id) => document.getElementById(id);

export class Viewer {
  constructor({ onPick }) {
    this.stage = element("stage");
    this.world = element("world");
    this.photo = element("photo");
    this.heat = element("heat");
    this.marks = element("marks");
    this.size = null;
    this.view = { x: 0, y: 0, scale: 1 };
    this.pointers = new Map();
    this.stroking = false;
    this.onPick = onPick;
    this.onLook = () => {};
    this.stage.addEventListener("pointerdown", (event) => this.press(event));
    this.stage.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      this.stage.addEventListener(name, (event) => this.release(event));
    }
    this.stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomAt(event.clientX, event.clientY, Math.exp(-event.deltaY * 0.0015));
    }, { passive: false });
    // The browser's own drag of a picture or of selected text would take the pointer away from a stroke.
    this.stage.addEventListener("dragstart", (event) => event.preventDefault());
    this.stage.addEventListener("dblclick", (event) => this.zoomAt(event.clientX, event.clientY, 2));
    new ResizeObserver(() => this.isWhole && this.fit()).observe(this.stage);
  }

  // Show another photo; `size` is [width, height] of the upright photo.
  open(url, heatUrl, size) {
    this.size = size;
    this.photo.src = url;
    this.heat.src = heatUrl;
    this.world.style.width = `${size[0]}px`;
    this.world.style.height = `${size[1]}px`;
    this.marks.setAttribute("viewBox", `0 0 ${size[0]} ${size[1]}`);
    this.fit();
  }

  close() {
    this.size = null;
    this.photo.removeAttribute("src");
    this.heat.removeAttribute("src");
    this.marks.replaceChildren();
  }

  // `flaws`: [{line, area, verdict, isChosen}], the chosen one drawn last; a layer is its opacity, or false.
  draw(flaws, { outlines, masks, heat }) {
    this.heat.style.display = heat ? "" : "none";
    this.heat.style.opacity = heat || 0;
    const paths = [];
    for (const flaw of [...flaws].sort((a, b) => a.isChosen - b.isChosen)) {
      const kind = `${flaw.verdict}${flaw.isChosen ? " chosen" : ""}`;
      if (masks) paths.push(this.path(flaw.area, `area ${kind}`, masks));
      if (outlines || flaw.isChosen) {
        const casing = flaw.isChosen ? "casing chosen" : "casing";
        const opacity = flaw.isChosen ? 1 : outlines;
        paths.push(this.path(flaw.line, casing, opacity), this.path(flaw.line, kind, opacity));
      }
    }
    this.marks.replaceChildren(...paths);
  }

  path(line, kind, opacity = 1) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", line);
    path.setAttribute("class", kind);
    if (opacity < 1) path.setAttribute("opacity", opacity);
    return path;
  }

  fit() {
    if (!this.size) return;
    const { width, height } = this.stage.getBoundingClientRect();
    const scale = Math.min(width / this.size[0], height / this.size[1]);
    this.look((width - this.size[0] * scale) / 2, (height - this.size[1] * scale) / 2, scale);
    this.isWhole = true;
  }

  // Bring a box into the middle, with its surroundings.
  focus([left, top, right, bottom]) {
    const { width, height } = this.stage.getBoundingClientRect();
    const whole = Math.min(width / this.size[0], height / this.size[1]);
    const wanted = 0.5 * Math.min(width / (right - left), height / (bottom - top));
    const scale = Math.min(Math.max(wanted, whole), Math.max(2, whole));
    this.look(width / 2 - (scale * (left + right)) / 2, height / 2 - (scale * (top + bottom)) / 2, scale);
  }

  zoomBy(factor) {
    const { left, top, width, height } = this.stage.getBoundingClientRect();
    this.zoomAt(left + width / 2, top + height / 2, factor);
  }

  zoomAt(clientX, clientY, factor) {
    if (!this.size) return;
    const { left, top, width, height } = this.stage.getBoundingClientRect();
    const whole = Math.min(width / this.size[0], height / this.size[1]);
    const before = this.view.scale;
    const scale = Math.min(Math.max(before * factor, Math.min(whole, 1) / 2), MOST_ZOOM);
    const [x, y] = [clientX - left, clientY - top];
    const share = scale / before;
    this.look(x - (x - this.view.x) * share, y - (y - this.view.y) * share, scale);
  }

  look(x, y, scale) {
    this.isWhole = false;
    this.view = { x, y, scale };
    this.world.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    this.world.style.setProperty("--px", 1 / scale);
    this.world.classList.toggle("pixels", scale >= 2);
    element("zoom").textContent = `${Math.round(scale * 100)} %`;
    this.onLook();
  }

  toPhoto(event) {
    const { left, top } = this.stage.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    const within = (value, side) => Math.round(Math.min(Math.max(value, 0), side) * 10) / 10;
    return [
      within((x - this.view.x) / this.view.scale, this.size[0]),
      within((y - this.view.y) / this.view.scale, this.size[1]),
    ];
  }

  // Strokes of the pointer go to a tool {begin(point), go(point), end(), stop()} instead of moving the photo;
  // null puts it away. A second finger stops the stroke: two fingers always move and zoom.
  set tool(tool) {
    if (this.stroking) this.held.stop();
    this.stroking = false;
    this.held = tool;
    this.stage.classList.toggle("drawing", Boolean(tool));
  }

  get tool() {
    return this.held ?? null;
  }

  press(event) {
    if (!this.size) return;
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    this.travelled = this.pointers.size === 1 ? 0 : Infinity; // two fingers pick nothing
    if (this.stroking) {
      this.held.stop();
      this.stroking = false;
    } else if (this.held && this.pointers.size === 1 && event.button === 0) {
      this.stroking = true;
      this.held.begin(this.toPhoto(event));
    }
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const [dx, dy] = [event.clientX - before[0], event.clientY - before[1]];
    this.travelled += Math.abs(dx) + Math.abs(dy);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.stroking) {
      for (const one of event.getCoalescedEvents?.() ?? [event]) this.held.go(this.toPhoto(one));
    } else if (other) {
      const distance = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      const share = distance([event.clientX, event.clientY]) / Math.max(distance(before), 1);
      this.look(this.view.x + dx / 2, this.view.y + dy / 2, this.view.scale);
      this.zoomAt((event.clientX + other[0]) / 2, (event.clientY + other[1]) / 2, share);
    } else {
      this.look(this.view.x + dx, this.view.y + dy, this.view.scale);
    }
  }

  release(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    const isDone = event.type === "pointerup";
    if (this.stroking) {
      this.stroking = false;
      if (isDone) this.held.end();
      else this.held.stop();
    } else if (isDone && !this.held && this.travelled < 5) {
      this.onPick(this.toPhoto(event));
    }
  }
}
