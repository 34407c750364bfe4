// A keypad for a finger: whoever resumes, or looks from the ward's station, says who they are by their PIN.

import { say } from "/words.js";

const MOST = 12;
const LEAST = 4;

export class Keypad {
  constructor(dialog) {
    this.dialog = dialog;
    const part = (name) => dialog.querySelector(`#keypad-${name}`);
    this.typed = "";
    this.shown = part("typed");
    this.told = part("say");
    this.done = part("done");
    this.cancel = part("cancel");
    const keys = part("keys");
    for (const key of ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "⌫"]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = key;
      button.addEventListener("click", () => this.press(key));
      keys.append(button);
    }
    this.cancel.addEventListener("click", () => this.end(""));
    this.done.addEventListener("click", () => this.end(this.typed));
    dialog.addEventListener("cancel", () => this.end(""));
    dialog.addEventListener("keydown", (event) => {
      if (/^\d$/.test(event.key)) this.press(event.key);
      else if (event.key === "Backspace") this.press("⌫");
      else if (event.key === "Enter") this.end(this.typed);
      else return;
      event.preventDefault();
    });
  }

  // The PIN that is typed, or nothing where it is given up.
  ask(what, deed) {
    this.typed = "";
    this.told.textContent = what;
    this.done.textContent = deed;
    this.cancel.textContent = say("Cancel");
    this.press("");
    this.dialog.showModal();
    return new Promise((resolve) => { this.answer = resolve; });
  }

  get open() {
    return this.dialog.open;
  }

  press(key) {
    this.typed = key === "⌫" ? this.typed.slice(0, -1) : (this.typed + key).slice(0, MOST);
    this.shown.textContent = "●".repeat(this.typed.length);
    this.done.disabled = this.typed.length < LEAST;
  }

  end(pin) {
    if (pin && pin.length < LEAST) return;
    this.typed = "";
    if (this.dialog.open) this.dialog.close();
    this.answer?.(pin);
    this.answer = null;
  }
}
