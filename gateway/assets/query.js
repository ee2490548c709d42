// The query bar tells what can be typed: names of filters, then their values.
export const query = () => {
  const input = document.querySelector("[data-query]");
  if (!input) return;
  const values = JSON.parse(input.dataset.values || "{}");
  const list = document.createElement("ul");
  list.className = "hints";
  list.id = "hints";
  list.hidden = true;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "What can be typed");
  const bar = input.closest(".query");
  bar.dataset.keep = "";
  bar.append(list);
  for (const [name, value] of [["role", "combobox"], ["aria-controls", "hints"], ["aria-expanded", "false"], ["aria-autocomplete", "list"]]) {
    input.setAttribute(name, value);
  }
  let at = -1;

  const last = () => input.value.match(/\S*$/)[0];
  const wanted = () => {
    const word = last();
    const colon = word.indexOf(":");
    if (colon < 0) {
      return Object.keys(values).filter((name) => name.startsWith(word)).map((name) => ({ text: `${name}:`, hint: values[name].length ? `${values[name].length} known` : "" }));
    }
    const name = word.slice(0, colon);
    const part = word.slice(colon + 1).toLowerCase();
    return (values[name] ?? []).filter((value) => value.toLowerCase().includes(part)).slice(0, 12).map((value) => ({ text: `${name}:${value}`, hint: "" }));
  };
  const hide = () => {
    list.hidden = true;
    at = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const mark = (place) => {
    at = place;
    [...list.children].forEach((one, n) => one.setAttribute("aria-selected", n === at));
    if (at >= 0) {
      list.children[at].scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", list.children[at].id);
    }
  };
  const show = () => {
    const all = wanted();
    list.replaceChildren(...all.map(({ text, hint }, n) => {
      const one = document.createElement("li");
      one.id = `hint-${n}`;
      one.setAttribute("role", "option");
      one.dataset.text = text;
      one.append(text, Object.assign(document.createElement("span"), { textContent: hint }));
      return one;
    }));
    if (!all.length) return hide();
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    mark(-1);
  };
  const take = (text) => {
    const whole = /\s/.test(text) ? text.replace(/:(.*)$/, ':"$1"') : text;
    input.value = input.value.slice(0, input.value.length - last().length) + whole;
    input.focus();
    if (whole.endsWith(":")) show();
    else bar.requestSubmit();
  };

  input.addEventListener("input", show);
  input.addEventListener("focus", show);
  input.addEventListener("blur", () => setTimeout(hide, 150));
  list.addEventListener("mousedown", (event) => {
    event.preventDefault();
    const one = event.target.closest("li");
    if (one) take(one.dataset.text);
  });
  input.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    const all = list.children.length;
    if (event.key === "ArrowDown") mark((at + 1) % all);
    else if (event.key === "ArrowUp") mark((at - 1 + all) % all);
    else if (event.key === "Escape") { hide(); event.stopPropagation(); }
    else if ((event.key === "Enter" || event.key === "Tab") && at >= 0) take(list.children[at].dataset.text);
    else if (event.key === "Tab" && last()) take(list.children[0].dataset.text);
    else return;
    event.preventDefault();
  });
};
