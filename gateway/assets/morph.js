// Makes one tree like another, and leaves alone what is alike: what is
// focused, selected, scrolled or typed stays.

// Not `node.id`: of a form with a field named "id" that is the field.
const name = (node) =>
  node.nodeType === 1 ? node.getAttribute("id") || node.dataset.key || "" : "";

const alike = (one, other) =>
  one.nodeType === other.nodeType && one.nodeName === other.nodeName && name(one) === name(other);

// What somebody is about to send is not changed under their hands.
const busy = (node) =>
  node.matches("[data-keep], dialog[open], form[data-dirty], .picked") ||
  (node.matches("input, textarea, select") && node === document.activeElement);

const attributes = (from, to) => {
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  for (const { name } of [...from.attributes]) {
    const own = (name === "open" && from.nodeName === "DETAILS") || name === "aria-selected";
    if (!to.hasAttribute(name) && !own) from.removeAttribute(name);
  }
};

export const morph = (from, to) => {
  if (from.nodeType !== 1) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  if (busy(from)) return;
  attributes(from, to);
  const named = new Map();
  for (const child of from.children) if (name(child)) named.set(name(child), child);
  let place = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    let found = name(wanted) ? named.get(name(wanted)) : place;
    // A nameless place may have the child of another name.
    while (found && !name(wanted) && name(found)) found = found.nextSibling;
    if (found && alike(found, wanted)) {
      if (found === place) place = place.nextSibling;
      else from.insertBefore(found, place);
      morph(found, wanted);
    } else {
      from.insertBefore(document.importNode(wanted, true), place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    if (place.nodeType !== 1 || !busy(place)) place.remove();
    place = next;
  }
};
