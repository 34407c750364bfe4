// What may be said now: from the last message, its age by this page's own clock, and the state of the connection.

// Said in place of LIVE where the pictures are not of what the camera beside the bed sees now; state.py has the same.
const NOT_THIS_BED = {
  camera: "", recording: "RECORDING, NOT LIVE NOW", simulation: "SIMULATED, NOT THIS BED",
};
const UNKNOWN = "UNKNOWN SOURCE, MAYBE NOT THIS BED";
const SURE_OF_PLACE = 0.6;
const CALL = "If it does not come back within a minute, call the clinical engineer.";
const TROUBLE = {
  key: ["This page was opened without its key.", "On this box, type: wardpose display --address"],
  many: ["Too many pages are open.", "Close one of them: this one then goes on by itself."],
  replaced: ["The bedside page is open on another screen.", "Close it there: this one then goes on by itself."],
};

// seen: { message, heardAt, newAt, capturedAt } in milliseconds of performance.now(); trouble: the link's.
export function verdict(seen, trouble, now) {
  const { message, heardAt } = seen;
  if (trouble === "pin") return { state: "starting", word: "A PIN, TO LOOK", what: "" };
  if (TROUBLE[trouble]) return lost(...TROUBLE[trouble]);
  if (message === null || heardAt === null) {
    if (trouble && now > 3000) return lost("This screen has no connection to the box beside the bed.", CALL);
    return { state: "starting", word: "CONNECTING", what: "" };
  }
  // Each message says how long it may pass for now, so a page whose box, network stack or connection stops goes dark.
  if (!recent(heardAt, now, Math.min(message.stale_s, message.gap_s))) {
    return lost("This screen has lost its connection to the box beside the bed.", CALL);
  }
  if (message.state === "paused") return { state: "paused", pause: message.pause };
  if (message.state === "starting") return { state: "starting", word: "STARTING", what: "", detail: message.message };
  if (message.state === "gone") return lost("The live picture has stopped.", CALL, message.message);
  if (message.state !== "live") return lost("The camera has stopped.", CALL, message.message);
  if (!recent(seen.capturedAt, now, message.stale_s) || !recent(seen.newAt, now, message.gap_s)) {
    return lost("The camera sends no new picture.", CALL);
  }
  const warning = NOT_THIS_BED[message.origin] ?? UNKNOWN;
  return { state: warning ? "elsewhere" : "live", word: warning || "LIVE", ...whereabouts(message) };
}

// Whether something of that moment is still "now"; not where nobody said how old it may be.
function recent(then, now, allowedS) {
  return then !== null && now - then <= 1000 * allowedS;
}

function lost(what, todo, detail = "") {
  return { state: "lost", what, todo, detail };
}

// Where the patient is and since when; `nobody` is set where no patient is drawn. That nobody is detected never means
// that nobody is there.
function whereabouts(message) {
  const patient = message.patient;
  if (!patient) {
    return message.people.length ? { place: "", forS: null } : { nobody: "NOBODY DETECTED", forS: null };
  }
  const forS = typeof patient.for_s === "number" ? patient.for_s + (message.age_ms ?? 0) / 1000 : null;
  const sure = (patient.probability?.[patient.place] ?? 0) >= SURE_OF_PLACE;
  if (patient.place === "nobody") {
    return message.people.length ? { nobody: "NOBODY DETECTED IN BED", forS } : { nobody: "NOBODY DETECTED", forS };
  }
  if (patient.place === "out-of-bed" && sure) return { nobody: "NOBODY IN BED", place: "Out of bed", forS };
  const [certain, likely] = {
    "in-bed": ["In bed", "Probably in bed"], "on-edge": ["On the edge of the bed", "Probably on the edge of the bed"],
    "out-of-bed": ["Out of bed", "Probably out of bed"],
  }[patient.place] ?? ["", ""];
  return { place: sure ? certain : likely, forS, hidden: !patient.seen };
}

export function peopleWords(drawn) {
  if (drawn === 0) return "nobody detected";
  return drawn === 1 ? "1 person drawn" : "{n} people drawn";
}
