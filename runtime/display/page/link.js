// The one connection to this box: it opens itself again after whatever happened, for as long as the page is open.

import { place } from "/words.js";

const [NO_KEY, ENDED, TOO_SLOW, REPLACED, TOO_MANY] = [4401, 4403, 4408, 4409, 4429];
const AGAIN_MS = 400;
const LATER_MS = 3000;
const ANSWER_MS = 12000;

// The key comes once, behind the # of the address, and is kept for this tab alone.
function key() {
  const given = /^#(kiosk|key)=([\w-]+)$/.exec(location.hash);
  if (given) {
    sessionStorage.setItem("key", given[2]);
    sessionStorage.setItem("kind", given[1]);
    history.replaceState(null, "", location.pathname);
  }
  return { key: sessionStorage.getItem("key") ?? "", kind: sessionStorage.getItem("kind") ?? "key" };
}

// By what this tab is let in, as subprotocols: at the bed by the key; at the ward's station by the token that came with
// the PIN's answer, where there is one yet.
function entrance() {
  if (place.station) {
    const look = sessionStorage.getItem("look");
    return look ? [`look.${look}`] : [];
  }
  const { key: secret, kind } = key();
  return [`key.${secret || "none"}`, ...(kind === "kiosk" ? ["kiosk"] : [])];
}

export class Link {
  // hear: called with each message; asked: when a PIN is wanted. `trouble` says why there is no message, in a word.
  constructor(hear, asked) {
    this.hear = hear;
    this.asked = asked;
    this.trouble = "";
    this.answering = null;
    this.edition = null;
    addEventListener("hashchange", () => this.socket?.close());
    this.open();
  }

  open() {
    const names = ["wardpose", ...entrance()];
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/live`, names);
    this.socket.onmessage = (event) => this.take(JSON.parse(event.data));
    this.socket.onclose = (event) => this.lost(event.code);
  }

  take(said) {
    if (said.answer) {
      this.answering?.(said.answer);
      this.answering = null;
      if (said.answer.look) sessionStorage.setItem("look", said.answer.look);
      return;
    }
    if (said.asks) {
      this.trouble = "pin";
      this.asked();
      return;
    }
    this.trouble = "";
    if (said.edition) {
      if (this.edition && this.edition !== said.edition) location.reload();
      this.edition = said.edition;
    }
    this.hear(said);
  }

  lost(code) {
    if (code === ENDED) sessionStorage.removeItem("look");
    this.trouble = { [NO_KEY]: "key", [TOO_MANY]: "many", [REPLACED]: "replaced", [TOO_SLOW]: "slow" }[code] ?? "box";
    this.answering?.({ ok: false, what: "" });
    this.answering = null;
    setTimeout(() => this.open(), ["box", "slow"].includes(this.trouble) ? AGAIN_MS : LATER_MS);
  }

  // Ask for one thing; the answer, or one that says no when none comes.
  ask(command, more = {}) {
    return new Promise((resolve) => {
      if (this.socket.readyState !== WebSocket.OPEN) {
        resolve({ ok: false, what: "" });
        return;
      }
      const timer = setTimeout(() => resolve({ ok: false, what: "" }), ANSWER_MS);
      this.answering = (answer) => {
        clearTimeout(timer);
        resolve(answer);
      };
      this.socket.send(JSON.stringify({ command, ...more }));
    });
  }
}
