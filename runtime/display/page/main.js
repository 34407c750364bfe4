// Puts into words and shapes, many times a second, what may be said now.

import { Keypad } from "/keypad.js";
import { Link } from "/link.js";
import { Scene } from "/scene.js";
import { peopleWords, verdict } from "/verdict.js";
import { clock, lasting, learn, place, say } from "/words.js";

const DAY = [7, 19];
const NIGHT = [22, 6];
const FAILED_MS = 8000;

const element = (id) => document.getElementById(id);
const keypad = new Keypad(element("keypad"));
const scene = new Scene(element("scene"));
const dead = element("dead").getAnimations()[0];
const seen = { message: null, heardAt: null, capturedAt: null, newAt: null };
let link = null;
let failedUntil = 0;

function hear(said) {
  const now = performance.now();
  seen.heardAt = now;
  if (said.bed) scene.bed = said.bed;
  if (typeof said.age_ms === "number") {
    if (said.frame_index !== seen.message?.frame_index || seen.capturedAt === null) seen.newAt = now;
    seen.capturedAt = now - said.age_ms;
  } else {
    seen.capturedAt = null;
  }
  seen.message = said;
}

function write(id, text) {
  const place = element(id);
  if (place.textContent !== text) place.textContent = text;
}

function show(id, shown) {
  element(id).hidden = !shown;
}

function light(hour) {
  if (hour >= DAY[0] && hour < DAY[1]) return "day";
  return hour >= NIGHT[0] || hour < NIGHT[1] ? "night" : "evening";
}

function sinceWords(seconds) {
  if (seconds === null) return "";
  const since = clock(new Date(Date.now() - 1000 * seconds));
  return say("since {time}, {lasting}", { time: since, lasting: lasting(seconds) });
}

function paint() {
  const now = performance.now();
  dead.currentTime = 0;  // while this script lives, the sign that it does not stays hidden
  const said = verdict(seen, link.trouble, now);
  const fresh = said.state === "live" || said.state === "elsewhere";
  document.body.dataset.state = said.state;
  document.body.dataset.light = light(new Date().getHours());
  write("clock", clock(new Date()));

  show("live", said.state === "live");
  write("live-word", say("LIVE"));
  show("warning", said.state === "elsewhere");
  write("warning", said.state === "elsewhere" ? say(said.word) : "");
  const called = seen.message?.called ?? "";
  document.title = [called, "wardpose"].filter(Boolean).join(" · ");
  const placed = fresh && said.place && !said.nobody;
  write("place", placed ? say(said.place) : "");
  write("since", [called, placed ? sinceWords(said.forS) : "", placed && said.hidden ? say("hidden now") : ""]
    .filter(Boolean).join(" · "));

  show("lost", said.state === "lost");
  write("lost-word", say("NO SIGNAL"));
  show("told", said.state === "lost");
  if (said.state === "lost") {
    write("told-what", say(said.what));
    write("told-do", say(said.todo));
    write("told-detail", said.detail ? say("For the engineer: {what}", { what: said.detail }) : "");
  }

  show("paused", said.state === "paused");
  write("paused-word", say("PAUSED"));
  if (said.state === "paused") pausedWords(said.pause);

  show("waiting", said.state === "starting");
  write("waiting-word", said.state === "starting" ? say(said.word) : "");
  write("waiting-detail", said.detail ? say("For the engineer: {what}", { what: said.detail }) : "");

  const drawn = scene.draw(fresh ? seen.message : null, now);
  show("empty", fresh && Boolean(said.nobody));
  write("empty-word", fresh && said.nobody ? say(said.nobody) : "");
  write("empty-since", fresh && said.nobody ? sinceWords(said.forS) : "");
  write("empty-detail", !fresh || !said.nobody || said.nobody === "NOBODY IN BED" ? "" :
    say("Nobody detected does not mean that nobody is there."));
  element("scene").setAttribute("aria-label", fresh ? say(peopleWords(drawn), { n: drawn }) : "");

  const engine = seen.message?.engines?.detector;
  write("figures", !fresh ? "" : [
    say(peopleWords(drawn), { n: drawn }),
    engine ? say("{n} pictures a second, {engine}", { n: Math.round(seen.message.fps), engine }) : "",
  ].filter(Boolean).join(" · "));
  write("no-alarm", say("Skeleton only. No image is shown, stored or sent. Not an alarm and not a medical device."));

  const paused = said.state === "paused";
  if (keypad.open && !paused && !place.station) keypad.end("");
  if (place.station) {
    write("pause", say("Type a PIN"));
    show("pause", link.trouble === "pin" && !keypad.open);
    element("pause").disabled = false;
  } else {
    write("pause", paused ? say("Resume") : say("Pause"));
    element("pause").disabled = link.answering !== null || link.trouble !== "" || seen.heardAt === null;
  }
  show("failed", now < failedUntil);
  requestAnimationFrame(paint);
}

function pausedWords(pause) {
  const by = pause?.by === "somebody at the bedside page" ? say("somebody at the bedside page") : pause?.by;
  write("paused-by", by ? say("by {name}", { name: by }) : "");
  const since = pause?.since ? (Date.now() - Date.parse(pause.since)) / 1000 : null;
  write("paused-since", since === null || Number.isNaN(since) ? "" : sinceWords(Math.max(0, since)));
  write("paused-why", pause?.reason ?? "");
}

// Who looks from the ward's station says a PIN, until one is right.
async function enter(what = say("Your PIN, to look")) {
  if (keypad.open) return;
  const pin = await keypad.ask(what, say("Look"));
  if (pin === "") return;
  const answer = await link.ask("enter", { pin });
  if (answer.ok || link.trouble !== "pin") return;
  enter(answer.refused ?
    `${say("This PIN was not accepted. After several tries, wait a minute.")} ${say("Here it has six digits or more.")}` :
    [say("Try again."), answer.what, answer.mend].filter(Boolean).join(" "));
}

async function press() {
  if (place.station) {
    enter();
    return;
  }
  const command = seen.message?.state === "paused" ? "resume" : "pause";
  const pin = command === "resume" && seen.message.asks_pin ? await keypad.ask(say("Your PIN, to resume"), say("Resume")) : "";
  if (pin === "" && command === "resume" && seen.message.asks_pin) return;
  const answer = await link.ask(command, pin ? { pin } : {});
  if (answer.ok) return;
  const failed = command === "pause" ? "The pause could not be set." : "The pause could not be lifted.";
  const why = answer.refused ? [say("This PIN was not accepted. After several tries, wait a minute.")] :
    [say("Try again."), answer.what];
  write("failed", [say(failed), ...why].filter(Boolean).join(" "));
  failedUntil = performance.now() + FAILED_MS;
}

element("pause").addEventListener("click", press);
learn().catch(() => {}).finally(() => {
  link = new Link(hear, enter);
  requestAnimationFrame(paint);
});
