"use strict";

const LIMBS = [[15, 13], [13, 11], [16, 14], [14, 12], [11, 12], [5, 11], [6, 12], [5, 6], [5, 7], [6, 8], [7, 9],
  [8, 10], [1, 2], [0, 1], [0, 2], [1, 3], [2, 4], [3, 5], [4, 6]];
// A colour for each person, the full tone for left limbs and the pale one for right ones; overlay.py has the same.
const PEOPLE = [[64, 180, 255], [255, 166, 64], [196, 130, 255], [90, 214, 160], [255, 122, 150], [238, 220, 84]];
const FAINT = "#606266";
// Said in place of LIVE where the pictures are not of what the camera beside the bed sees now; state.py has the same.
const NOT_THIS_BED = {
  camera: "", recording: "RECORDING, NOT LIVE NOW", simulation: "SIMULATED, NOT THIS BED",
};
const UNKNOWN = "UNKNOWN SOURCE, MAYBE NOT THIS BED";

const element = (id) => document.getElementById(id);
const canvas = element("skeleton");
const pen = canvas.getContext("2d");

let message = null;     // the last one received
let capturedAt = null;  // performance.now() at which the shown frame was captured
let heardAt = null;     // performance.now() of the last message of any kind
let busy = false;

function tone(person, pale) {
  const colour = PEOPLE[(Math.max(person.id, 1) - 1) % PEOPLE.length];
  return `rgb(${colour.map((v) => Math.round(pale ? v + .55 * (255 - v) : v)).join(" ")})`;
}

// COCO's even keypoints are right ones, but for the nose.
function right(a, b) {
  return a !== 0 && b !== 0 && a % 2 === 0 && b % 2 === 0;
}

// Whether something of that moment is still "now". Each message says how long it may be; the page judges by its own
// clock, so it goes grey even when the box, the network stack or this page's connection stops.
function recent(then, now) {
  return then !== null && message !== null && now - then <= 1000 * message.stale_s;
}

function verdict(now) {
  if (heardAt === null) return { state: "starting", title: "CONNECTING", detail: "" };
  if (!recent(heardAt, now)) {
    return { state: "stale", title: "NO LIVE PICTURE", detail: "The display has lost its connection to this box." };
  }
  if (message.state === "paused") {
    const by = message.pause ? `${message.pause.words.replace(/^p/, "P")}. ` : "";
    return { state: "paused", title: "PAUSED", detail: `${by}Nothing is being looked at. Press Resume to go on.` };
  }
  if (message.state === "starting") return { state: "starting", title: "STARTING", detail: message.message };
  if (message.state !== "live") return { state: "stale", title: "NO LIVE PICTURE", detail: message.message };
  if (!recent(capturedAt, now)) {
    return { state: "stale", title: "NO LIVE PICTURE", detail: "The picture is old." };
  }
  const warning = NOT_THIS_BED[message.origin] ?? UNKNOWN;
  if (warning) return { state: "elsewhere", title: warning, detail: "" };
  return { state: "live", title: "LIVE", detail: "" };
}

function words(ms) {
  const s = ms / 1000;
  if (s < 60) return `${s.toFixed(1)} s`;
  return s < 3600 ? `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s` : `${(s / 3600).toFixed(1)} h`;
}

function fit() {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  return { width, height };
}

// Draws the people of the last message and returns how many were drawn.
function draw(vivid) {
  const { width, height } = fit();
  pen.clearRect(0, 0, width, height);
  if (!message || !message.width || !message.people) return 0;
  const zoom = Math.min(width / message.width, height / message.height);
  const left = (width - message.width * zoom) / 2;
  const top = (height - message.height * zoom) / 2;
  pen.strokeStyle = "#2b333d";
  pen.lineWidth = 1;
  pen.strokeRect(left + .5, top + .5, message.width * zoom - 1, message.height * zoom - 1);
  const thick = Math.max(3, Math.min(width, height) / 130);
  pen.lineCap = "round";
  const place = ([x, y]) => [left + x * zoom, top + y * zoom];
  for (const person of message.people) {
    if (person.shown === "skeleton") skeleton(person, place, thick, vivid);
    else box(person, place, thick, vivid);
  }
  pen.setLineDash([]);
  return message.people.length;
}

// That nobody is detected never means that nobody is there.
function peopleWords(drawn) {
  if (drawn === 0) return "nobody detected";
  return drawn === 1 ? "1 person drawn" : `${drawn} people drawn`;
}

function box(person, place, thick, vivid) {
  const [x1, y1] = place(person.box.slice(0, 2));
  const [x2, y2] = place(person.box.slice(2));
  pen.setLineDash([]);
  pen.lineWidth = thick * .75;
  pen.strokeStyle = vivid ? tone(person, false) : FAINT;
  pen.beginPath();
  pen.roundRect(x1, y1, x2 - x1, y2 - y1, Math.min(x2 - x1, y2 - y1) / 5);
  pen.stroke();
}

function skeleton(person, place, thick, vivid) {
  const score = (a, b) => Math.min(person.keypoints[a][2], person.keypoints[b][2]);
  // Doubtful limbs first, so that sure ones lie over them.
  for (const [a, b] of [...LIMBS].sort((one, other) => score(...one) - score(...other))) {
    if (score(a, b) < message.doubtful) continue;
    const sure = score(a, b) >= message.sure;
    pen.strokeStyle = vivid ? tone(person, right(a, b)) : FAINT;
    pen.lineWidth = sure ? thick : thick / 2;
    pen.setLineDash(sure ? [] : [thick * 1.5, thick * 2]);
    pen.beginPath();
    pen.moveTo(...place(person.keypoints[a]));
    pen.lineTo(...place(person.keypoints[b]));
    pen.stroke();
  }
  pen.setLineDash([]);
  person.keypoints.forEach((point, index) => {
    if (point[2] < message.doubtful) return;
    const sure = point[2] >= message.sure;
    pen.beginPath();
    pen.arc(...place(point), index < 5 ? thick * .6 : thick * .9, 0, 2 * Math.PI);
    pen.lineWidth = thick / 3;
    pen.strokeStyle = pen.fillStyle = vivid ? tone(person, right(index, index)) : FAINT;
    if (sure) pen.fill();
    else pen.stroke();
  });
}

function show() {
  const now = performance.now();
  const { state, title, detail } = verdict(now);
  const fresh = state === "live" || state === "elsewhere";
  document.body.dataset.state = state;
  element("headline").textContent = title;
  const age = capturedAt === null || state === "paused" ? "" : words(Math.max(0, now - capturedAt));
  element("age").textContent = age && (fresh ? age : `last ${age} ago`);
  const drawn = draw(fresh);
  element("people").textContent = fresh ? peopleWords(drawn) : "";
  element("warning").hidden = state !== "elsewhere";
  element("warning").textContent = state === "elsewhere" ? title : "";
  element("cover").hidden = fresh;
  element("cover-title").textContent = title;
  element("cover-detail").textContent = detail;
  const paused = message !== null && message.state === "paused";
  const reachable = recent(heardAt, now);  // the display itself sets the pause
  element("pause").textContent = paused ? "Resume" : "Pause";
  element("pause").disabled = busy || !reachable;
  element("pause").title = reachable ? "" : "This box can't be reached";
  const engine = message && message.engines ? `${message.engines.detector}, ${message.fps.toFixed(1)} frames a second` : "";
  element("detail").textContent = !fresh ? "" : drawn ? engine : `${engine}. Nobody detected does not mean that nobody is there.`;
  requestAnimationFrame(show);
}

const events = new EventSource("/events");
events.onmessage = (event) => {
  const said = JSON.parse(event.data);
  heardAt = performance.now();
  // People are kept (in grey, with their age) while there is no signal; a pause forgets them.
  const before = message && message.people ? message : { people: [], width: 0, height: 0 };
  message = said;
  if (said.state === "paused") capturedAt = null;
  else if (typeof said.age_ms === "number") capturedAt = heardAt - said.age_ms;
  if (said.state !== "live" && said.state !== "paused") {
    Object.assign(message, { people: before.people, width: before.width, height: before.height });
  }
};

element("pause").addEventListener("click", async () => {
  busy = true;
  const command = message && message.state === "paused" ? "resume" : "pause";
  try {
    await fetch(`/${command}`, { method: "POST", headers: { "X-Wardpose": "page" } });
  } finally {
    busy = false;
  }
});

requestAnimationFrame(show);
