// Buttons: asked about where that matters, sent, and told.
import { again } from "./live.js";

export const toast = (text, bad) => {
  const place = document.querySelector(".toasts");
  const one = document.createElement("div");
  one.className = bad ? "toast bad" : "toast";
  one.textContent = text;
  place.append(one);
  setTimeout(() => one.remove(), bad ? 12000 : 6000);
};

// Resolves to whether the answer is yes.
export const sure = (what) =>
  new Promise((resolve) => {
    const dialog = document.getElementById("confirm");
    dialog.querySelector("[data-what]").textContent = what;
    dialog.returnValue = "";
    dialog.querySelector("[data-yes]").onclick = () => dialog.close("yes");
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
    dialog.showModal();
  });

// How many are picked is told where it is chosen.
const count = (form) => {
  const all = form.querySelector("[data-pick-all]");
  if (all) all.hidden = false;
  const told = form.querySelector("[data-picked]");
  const picked = form.querySelectorAll("[name=id]:checked").length;
  if (told) told.textContent = picked ? `The ${picked} picked` : "The picked ones";
};

const unpick = (form) => {
  for (const box of form.querySelectorAll("[type=checkbox]")) box.checked = false;
  count(form);
};

const send = async (form, fields) => {
  const answer = await fetch(form.action, {
    method: "POST",
    body: fields,
    headers: { accept: "application/json" },
    credentials: "same-origin",
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.detail || said.title);
  return said;
};

export const act = () => {
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.matches("form[data-act]")) return;
    event.preventDefault();
    const button = event.submitter;
    const question = button?.dataset.sure;
    if (question && !(await sure(question))) return;
    // Before the button is disabled: of a disabled one nothing is sent.
    const fields = new URLSearchParams(new FormData(form, button));
    if (button) button.disabled = true;
    try {
      let said = await send(form, fields);
      // The gateway has counted first, and asks.
      if (said.ask) {
        if (!(await sure(said.ask))) return;
        fields.set("sure", 1);
        said = await send(form, fields);
      }
      delete form.dataset.dirty;
      if ("pick" in form.dataset) unpick(form);
      if (said.to && form.dataset.act === "go") {
        location.href = document.documentElement.dataset.base + said.to;
        return;
      }
      form.closest("dialog")?.close();
      toast(said.said);
      again();
    } catch (error) {
      toast(error.message, true);
    } finally {
      if (button) button.disabled = false;
    }
  });
  document.addEventListener("input", (event) => {
    const form = event.target.closest("form[data-act]");
    // A list that is picked from goes on; its picks stay.
    if (form && !("pick" in form.dataset)) form.dataset.dirty = "";
  });
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-pick]");
    if (!form) return;
    if (event.target.matches("[data-pick-all]")) {
      for (const box of form.querySelectorAll("[name=id]")) box.checked = event.target.checked;
    }
    count(form);
  });
  for (const form of document.querySelectorAll("form[data-pick]")) count(form);
  document.querySelector("main")?.addEventListener("again", () => {
    for (const form of document.querySelectorAll("form[data-pick]")) count(form);
  });
  document.addEventListener("click", async (event) => {
    const close = event.target.closest("dialog [data-close]");
    if (close) close.closest("dialog").close();
    const opener = event.target.closest("[data-open]");
    if (opener) document.getElementById(opener.dataset.open)?.showModal();
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      const text = copy.parentElement.querySelector("pre, code").textContent;
      try {
        await navigator.clipboard.writeText(text);
        toast("Copied.");
      } catch {
        toast("The browser does not let a page copy here.", true);
      }
    }
  });
};
