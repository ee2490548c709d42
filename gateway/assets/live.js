// A page looks again when the gateway says that something has happened: at
// most every two seconds, and not while nobody sees it.
import { morph } from "./morph.js";

const EVERY = 2000;
const base = document.documentElement.dataset.base;
const state = document.querySelector("[data-live-state]");
const main = document.querySelector("main[data-live]");
const words = { live: "Live", held: "Held", lost: "No answer, trying" };

let source;
let held = false;
let due = false;
let waiting;
let last = 0;

const show = (now) => {
  if (!state) return;
  state.hidden = false;
  state.dataset.state = now === "held" ? "paused" : now;
  state.querySelector(".word").textContent = words[now];
  state.title = now === "live" ? "The page follows what happens. Click to hold it." :
    now === "held" ? "The page stays as it is. Click to let it go on." :
    "The gateway does not answer. What you see may be old.";
  state.setAttribute("aria-label", words[now]);
};

export const again = async () => {
  // A page that stays as it is.
  if (!main) return;
  clearTimeout(waiting);
  waiting = undefined;
  due = false;
  last = Date.now();
  const here = location.href;
  try {
    const answer = await fetch(here, { headers: { accept: "text/html" }, credentials: "same-origin" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const now = page.querySelector("main");
    if (!now || here !== location.href) return;
    morph(main, now);
    main.dispatchEvent(new Event("again"));
    show(held ? "held" : "live");
  } catch {
    show("lost");
  }
};

const soon = () => {
  due = true;
  if (held || document.hidden || waiting) return;
  waiting = setTimeout(again, Math.max(0, last + EVERY - Date.now()));
};

const listen = () => {
  source?.close();
  source = undefined;
  if (held || document.hidden) return;
  source = new EventSource(`${base}pulse`);
  source.addEventListener("pulse", (sign) => {
    show("live");
    if (sign.data !== "begin" || due) soon();
  });
  source.onerror = () => {
    show("lost");
    due = true;
    // A browser gives up on an answer that is no stream.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  };
};

export const hold = () => {
  held = !held;
  show(held ? "held" : "live");
  if (held) source?.close();
  else {
    due = true;
    listen();
  }
};

export const live = () => {
  if (!main) return;
  state?.addEventListener("click", hold);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) due = true;
    listen();
  });
  addEventListener("pagehide", () => source?.close());
  // What is seen gets older though nothing happens.
  setInterval(() => Date.now() - last > 15000 && soon(), 5000);
  last = Date.now();
  listen();
};
