// The page's sentences in the language of this box; what its catalogue lacks is said in English.

let catalogue = {};
let tongue = "en";
// Where this page stands: at the bed, or at the ward's station, where it is looked at only.
export const place = { station: false };

export async function learn() {
  const told = await (await fetch("/words")).json();
  catalogue = told.words;
  tongue = told.lang;
  place.station = told.station === true;
  document.documentElement.lang = told.lang;
  document.documentElement.dir = told.dir;
}

// `sentence` with {names} filled in from `values`.
export function say(sentence, values = {}) {
  return (catalogue[sentence] ?? sentence).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

export function clock(date) {
  return date.toLocaleTimeString(tongue, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

// How long something has lasted, for a glance.
export function lasting(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return say("{n} s", { n: Math.max(0, Math.floor(seconds)) });
  if (minutes < 60) return say("{n} min", { n: minutes });
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return say("{h} h {m} min", { h: hours, m: minutes % 60 });
  return say("{n} days", { n: Math.floor(hours / 24) });
}
