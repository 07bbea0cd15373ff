// A tool that paints and erases the pixels of a mask, with a brush of a size in pixels of the photo.

import { encodeRuns, fillPolygon, fillRuns } from "/static/masks.js";

const TILE_PX = 512; // only where something is painted is there a picture, however large the photo
const COLOUR = [240, 228, 66, 150];
const MOST_UNDONE = 100;

export class Painting {
  // `size` is [width, height] of the photo; pictures of the mask are put into `place`.
  constructor(size, place) {
    [this.width, this.height] = size;
    this.bits = new Uint8Array(this.width * this.height);
    this.place = place;
    this.tiles = new Map();
    this.strokes = []; // the places of the bits that each has turned
    this.isErasing = false;
    this.brushPx = 1;
    this.last = null;
  }

  get isChanged() {
    return this.strokes.length > 0;
  }

  get runs() {
    return encodeRuns(this.bits);
  }

  // Begin with a mask: {runs}, or {polygon, box_xyxy} of a finding.
  lay({ runs, polygon, box_xyxy: [left, top, right, bottom] = [] }) {
    const box = [[left, top], [right, top], [right, bottom], [left, bottom]];
    if (runs) fillRuns(this.bits, runs);
    else fillPolygon(this.bits, [this.width, this.height], polygon?.length >= 3 ? polygon : box);
    this.show(0, 0, this.width, this.height);
  }

  begin(point) {
    this.turned = [];
    this.last = this.snapped(point);
    this.dab(this.last, this.last);
  }

  go(point) {
    const next = this.snapped(point);
    this.dab(this.last, next);
    this.last = next;
  }

  end() {
    if (this.turned.length) this.strokes.push(Uint32Array.from(this.turned));
    if (this.strokes.length > MOST_UNDONE) this.strokes.shift();
    this.onEnd?.();
  }

  stop() {
    this.turn(this.turned);
    this.turned = [];
  }

  undo() {
    const stroke = this.strokes.pop();
    if (stroke) this.turn(stroke);
  }

  close() {
    for (const tile of this.tiles.values()) tile.remove();
  }

  // The middle of a pixel for odd sizes, a corner for even ones: a brush of n pixels is n pixels wide.
  snapped([x, y]) {
    const half = this.brushPx % 2 ? 0.5 : 0;
    return half ? [Math.floor(x) + half, Math.floor(y) + half] : [Math.round(x), Math.round(y)];
  }

  // All pixels whose middles are at most half a brush away from the way between two points.
  dab([x0, y0], [x1, y1]) {
    const radius = this.brushPx / 2;
    const value = this.isErasing ? 0 : 1;
    const left = Math.max(0, Math.floor(Math.min(x0, x1) - radius));
    const right = Math.min(this.width, Math.ceil(Math.max(x0, x1) + radius));
    const top = Math.max(0, Math.floor(Math.min(y0, y1) - radius));
    const bottom = Math.min(this.height, Math.ceil(Math.max(y0, y1) + radius));
    const [dx, dy] = [x1 - x0, y1 - y0];
    const length = dx * dx + dy * dy;
    for (let x = left; x < right; x += 1) {
      for (let y = top; y < bottom; y += 1) {
        const [px, py] = [x + 0.5 - x0, y + 0.5 - y0];
        const along = length ? Math.min(Math.max((px * dx + py * dy) / length, 0), 1) : 0;
        const far = (px - along * dx) ** 2 + (py - along * dy) ** 2;
        const at = x * this.height + y;
        if (far <= radius * radius && this.bits[at] !== value) {
          this.bits[at] = value;
          this.turned.push(at);
        }
      }
    }
    this.show(left, top, right, bottom);
  }

  turn(places) {
    const box = [this.width, this.height, 0, 0];
    for (const at of places) {
      this.bits[at] ^= 1;
      const [x, y] = [Math.floor(at / this.height), at % this.height];
      box[0] = Math.min(box[0], x);
      box[1] = Math.min(box[1], y);
      box[2] = Math.max(box[2], x + 1);
      box[3] = Math.max(box[3], y + 1);
    }
    this.show(...box);
  }

  show(left, top, right, bottom) {
    for (let x = left - (left % TILE_PX); x < right; x += TILE_PX) {
      for (let y = top - (top % TILE_PX); y < bottom; y += TILE_PX) {
        this.showTile(x, y, [Math.max(left, x), Math.max(top, y),
          Math.min(right, x + TILE_PX), Math.min(bottom, y + TILE_PX)]);
      }
    }
  }

  showTile(tileX, tileY, [left, top, right, bottom]) {
    const picture = new ImageData(right - left, bottom - top);
    let isEmpty = true;
    for (let x = left; x < right; x += 1) {
      for (let y = top; y < bottom; y += 1) {
        if (!this.bits[x * this.height + y]) continue;
        picture.data.set(COLOUR, 4 * ((y - top) * picture.width + x - left));
        isEmpty = false;
      }
    }
    const name = `${tileX} ${tileY}`;
    if (isEmpty && !this.tiles.has(name)) return;
    if (!this.tiles.has(name)) this.tiles.set(name, this.newTile(tileX, tileY));
    this.tiles.get(name).getContext("2d").putImageData(picture, left - tileX, top - tileY);
  }

  newTile(x, y) {
    const tile = document.createElement("canvas");
    tile.width = Math.min(TILE_PX, this.width - x);
    tile.height = Math.min(TILE_PX, this.height - y);
    tile.style.left = `${x}px`;
    tile.style.top = `${y}px`;
    this.place.append(tile);
    return tile;
  }
}
