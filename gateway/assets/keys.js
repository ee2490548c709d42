// Everything by keyboard. A key that is typed into a field is that field's.
import { again, hold } from "./live.js";

const base = document.documentElement.dataset.base;
const typing = (target) => target.closest?.("input, textarea, select, [contenteditable], dialog");

const rows = () => [...document.querySelectorAll("main tbody tr:has(a[href])")];

const move = (by) => {
  const all = rows();
  if (!all.length) return;
  const now = all.findIndex((row) => row.contains(document.activeElement));
  const next = all[Math.min(Math.max(now + by, 0), all.length - 1)];
  next.querySelector("a[href]").focus();
  next.scrollIntoView({ block: "nearest" });
};

const theme = () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  set(dark ? "light" : "dark");
};

const set = (name) => {
  const root = document.documentElement;
  if (name === "system") delete root.dataset.theme;
  else root.dataset.theme = name;
  const path = new URL(base, location.href).pathname;
  const age = name === "system" ? 0 : 31536000;
  document.cookie = `taskq_theme=${name}; path=${path}; max-age=${age}; samesite=lax`;
  for (const button of document.querySelectorAll("[data-theme-is]")) {
    button.setAttribute("aria-pressed", button.dataset.themeIs === name);
  }
};

const help = () => document.getElementById("keys").showModal();

export const keys = () => {
  let going = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && typing(event.target) && !event.target.closest("dialog")) {
      event.target.blur();
      return;
    }
    if (typing(event.target)) return;
    if (going) {
      going = false;
      document.querySelector(`[data-go="${CSS.escape(event.key)}"]`)?.click();
      return;
    }
    const does = {
      "?": help,
      "/": () => (document.querySelector("main [data-query]") ?? document.querySelector("[data-find]")).focus(),
      g: () => { going = true; setTimeout(() => { going = false; }, 1500); },
      j: () => move(1),
      k: () => move(-1),
      x: () => document.activeElement.closest("tr")?.querySelector("input[type=checkbox]")?.click(),
      p: hold,
      r: again,
      c: theme,
    }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  });
  const button = document.querySelector("[data-help]");
  if (button) {
    button.hidden = false;
    button.addEventListener("click", help);
  }
  document.addEventListener("click", (event) => {
    const wanted = event.target.closest("[data-theme-is]");
    if (wanted) {
      event.preventDefault();
      set(wanted.dataset.themeIs);
    }
    if (event.target.closest(".side a")) location.hash === "#menu" && history.replaceState(null, "", location.pathname + location.search);
  });
};
