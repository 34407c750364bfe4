// The bed in perspective and the people in it, as large as the screen allows. Pixels of the camera never come here.

import { say } from "/words.js";

const LIMBS = [[15, 13], [13, 11], [16, 14], [14, 12], [5, 7], [7, 9], [6, 8], [8, 10]];
const TRUNK = [5, 6, 12, 11];
const [LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP] = [5, 6, 11, 12];
const FACE = [0, 1, 2, 3, 4];
const ROOM = .04;      // around the bed, of its size
const EASE_S = .6;     // in which the picture follows who leaves it
const HEAD = .23;      // of the trunk's length: the head's radius
const LIMB = .2;       // of the trunk's length: the width of a limb

export class Scene {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.bed = [];
    this.view = null;
    this.shownAt = null;
  }

  // The newest message, or null where nothing may be shown as now; then the bed alone is drawn. Returns how many people.
  draw(message, now) {
    const { width, height } = this.fit();
    const { pen } = this;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, width, height);
    this.colours = colours();
    const frame = message?.width ? { width: message.width, height: message.height } : this.frame;
    if (!frame) return 0;
    this.frame = frame;
    const people = message?.people ?? [];
    this.look(people, frame, now);
    const { left, top, right, bottom } = this.view;
    const zoom = Math.min(width / (right - left), height / (bottom - top));
    this.zoom = zoom;
    this.at = ([x, y]) => [
      width / 2 + (x - (left + right) / 2) * zoom, height / 2 + (y - (top + bottom) / 2) * zoom,
    ];
    this.thin = Math.max(2, Math.min(width, height) / 260);
    this.drawBed();
    // The patient last, over whoever stands before the bed.
    const ordered = [...people].sort((a, b) => (a.role === "patient") - (b.role === "patient"));
    for (const person of ordered) this.drawPerson(person, message);
    return people.length;
  }

  fit() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
      this.view = null;
    }
    return { width, height };
  }

  // What of the camera's picture is shown: the bed and the patient, or all of it where no bed is known.
  look(people, frame, now) {
    let wanted = { left: 0, top: 0, right: frame.width, bottom: frame.height };
    const bed = this.bed.flatMap((part) => part.points);
    if (bed.length) {
      const boxes = people.filter((one) => one.role !== "other").map((one) => one.box);
      const xs = [...bed.map((p) => p[0]), ...boxes.flatMap((b) => [b[0], b[2]])];
      const ys = [...bed.map((p) => p[1]), ...boxes.flatMap((b) => [b[1], b[3]])];
      const room = ROOM * Math.max(span(bed, 0), span(bed, 1));
      wanted = {
        left: Math.max(-room, Math.min(...xs) - room), top: Math.max(-room, Math.min(...ys) - room),
        right: Math.min(frame.width + room, Math.max(...xs) + room),
        bottom: Math.min(frame.height + room, Math.max(...ys) + room),
      };
    }
    const part = this.view && this.shownAt !== null ? 1 - Math.exp(-(now - this.shownAt) / 1000 / EASE_S) : 1;
    this.shownAt = now;
    this.view ??= wanted;
    for (const side of Object.keys(wanted)) this.view[side] += part * (wanted[side] - this.view[side]);
  }

  drawBed() {
    const { pen, colours: colour } = this;
    pen.lineJoin = pen.lineCap = "round";
    for (const { part, closed, points } of this.bed) {
      pen.beginPath();
      points.forEach((point, index) => (index ? pen.lineTo : pen.moveTo).apply(pen, this.at(point)));
      pen.strokeStyle = colour.edge;
      pen.lineWidth = part === "rail" ? this.thin * 1.6 : this.thin;
      if (closed) {
        pen.closePath();
        pen.fillStyle = colour[part];
        pen.fill();
      }
      pen.stroke();
    }
    const board = this.bed.find((part) => part.part === "head");
    if (board) this.label(board.points);  // over a raised backrest that hides the board
  }

  // Which end is the head's, in a word.
  label(points) {
    const { pen } = this;
    const board = points.map(this.at);
    const size = Math.min(span(board, 1) * .3, this.thin * 9);
    pen.fillStyle = this.colours.name;
    pen.font = `600 ${size}px system-ui, sans-serif`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    const [x, y] = [0, 1].map((axis) => (Math.min(...board.map((p) => p[axis])) + Math.max(...board.map((p) => p[axis]))) / 2);
    pen.lineWidth = size / 4;
    pen.strokeStyle = this.colours.head;
    pen.strokeText(say("Head"), x, y - span(board, 1) * .28);
    pen.fillText(say("Head"), x, y - span(board, 1) * .28);
  }

  drawPerson(person, message) {
    const patient = person.role !== "other";
    if (person.shown !== "skeleton" || person.keypoints.length !== 17) {
      this.outline(person, patient);
      return;
    }
    const { pen, colours: colour } = this;
    const points = person.keypoints.map((point) => this.at(point));
    const score = person.keypoints.map((point) => point[2]);
    const size = this.bodySize(person, points, score);
    const width = Math.max(this.thin * 2.5, size * (patient ? LIMB : LIMB / 2.4));
    const draw = (index, other, tone) => {
      const sure = Math.min(score[index], score[other]);
      if (sure < message.doubtful) return;
      const firm = sure >= message.sure;
      pen.setLineDash(firm ? [] : [width * .7, width * 1.1]);
      this.stroke([points[index], points[other]], firm ? width : width * .55, tone);
    };
    pen.lineJoin = pen.lineCap = "round";
    const trunk = TRUNK.map((index) => score[index]);
    const left = patient ? colour.left : colour.other;
    const right = patient ? colour.right : colour.other;
    if (patient && Math.min(...trunk) >= message.sure) {
      pen.beginPath();
      TRUNK.forEach((index, n) => (n ? pen.lineTo : pen.moveTo).apply(pen, points[index]));
      pen.closePath();
      pen.setLineDash([]);
      pen.fillStyle = pen.strokeStyle = colour.trunk;
      pen.lineWidth = width;
      pen.fill();
      pen.stroke();
    } else {
      for (const [a, b] of [[5, 11], [6, 12], [5, 6], [11, 12]]) draw(a, b, patient ? colour.trunk : colour.other);
    }
    const limbs = [...LIMBS].sort((a, b) => Math.min(...a.map((i) => score[i])) - Math.min(...b.map((i) => score[i])));
    for (const [a, b] of limbs) draw(a, b, a % 2 ? left : right);
    this.head(points, score, size, message, patient, left, right);
    pen.setLineDash([]);
    points.forEach((point, index) => {
      if (index < 5 || score[index] < message.doubtful) return;
      const firm = score[index] >= message.sure;
      pen.beginPath();
      pen.arc(...point, width * (firm ? .34 : .42), 0, 2 * Math.PI);
      pen.fillStyle = firm ? colour.joint : colour.ground;
      pen.strokeStyle = index % 2 ? left : right;
      pen.lineWidth = this.thin;
      pen.fill();
      if (!firm) pen.stroke();
    });
  }

  // A line with a rim in the ground's colour, so that a limb over a limb or over the bed stays apart from it.
  stroke(line, width, tone) {
    const { pen } = this;
    const dash = pen.getLineDash();
    for (const [wide, colour, dashes] of [[width + this.thin * 2, this.colours.ground, []], [width, tone, dash]]) {
      if (dash.length && colour === this.colours.ground) continue;
      pen.setLineDash(dashes);
      pen.beginPath();
      pen.moveTo(...line[0]);
      pen.lineTo(...line[1]);
      pen.lineWidth = wide;
      pen.strokeStyle = colour;
      pen.stroke();
    }
  }

  head(points, score, size, message, patient, left, right) {
    const seen = FACE.filter((index) => score[index] >= message.doubtful);
    if (!seen.length) return;
    const { pen, colours: colour } = this;
    const firm = seen.filter((index) => score[index] >= message.sure).length > 1;
    const middle = [0, 1].map((axis) => seen.reduce((sum, index) => sum + points[index][axis], 0) / seen.length);
    pen.setLineDash(firm ? [] : [this.thin * 2, this.thin * 3]);
    pen.beginPath();
    pen.arc(...middle, Math.max(this.thin * 3, size * HEAD), 0, 2 * Math.PI);
    pen.lineWidth = patient ? this.thin * 2 : this.thin * 1.5;
    pen.strokeStyle = patient ? colour.ground : colour.other;
    pen.fillStyle = patient && firm ? colour.trunk : colour.ground;
    pen.fill();
    pen.strokeStyle = firm && patient ? colour.ground : patient ? colour.trunk : colour.other;
    pen.stroke();
  }

  // How long the trunk is on the screen; of somebody of whom it is not known, by the box.
  bodySize(person, points, score) {
    const middle = (a, b) => [(points[a][0] + points[b][0]) / 2, (points[a][1] + points[b][1]) / 2];
    const [x1, y1, x2, y2] = person.box;
    const box = Math.hypot(x2 - x1, y2 - y1) * this.zoom;
    const known = TRUNK.every((index) => score[index] > .2);
    const shoulders = middle(LEFT_SHOULDER, RIGHT_SHOULDER);
    const hips = middle(LEFT_HIP, RIGHT_HIP);
    const trunk = known ? Math.hypot(shoulders[0] - hips[0], shoulders[1] - hips[1]) : box * .28;
    const wide = known ? Math.hypot(points[5][0] - points[6][0], points[5][1] - points[6][1]) : 0;
    return Math.min(Math.max(trunk, wide * 1.2, box * .15), box * .4);
  }

  // Somebody is there of whom too little is sure: an outline, never a scribble.
  outline(person, patient) {
    const { pen } = this;
    const [x1, y1] = this.at(person.box.slice(0, 2));
    const [x2, y2] = this.at(person.box.slice(2));
    pen.setLineDash([this.thin * 4, this.thin * 4]);
    pen.lineWidth = this.thin * 2;
    pen.strokeStyle = patient ? this.colours.trunk : this.colours.other;
    pen.beginPath();
    pen.roundRect(x1, y1, x2 - x1, y2 - y1, Math.min(x2 - x1, y2 - y1) / 3);
    pen.stroke();
    pen.setLineDash([]);
  }
}

const NAMES = ["ground", "mattress", "side", "head", "foot", "pillow", "edge", "left", "right", "trunk", "joint", "other", "name"];

function colours() {
  const style = getComputedStyle(document.body);
  return Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function span(points, axis) {
  const values = points.map((point) => point[axis]);
  return Math.max(...values) - Math.min(...values);
}
