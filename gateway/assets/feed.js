// The feed of the Live page: the latest events, at most five hundred, written
// as text and never as HTML.
const MOST = 500;
const OWN = ["event", "at", "task_id", "task_name", "queue", "worker", "attempt", "error", "labels", "args", "kwargs"];
const TONES = {
  ok: ["succeeded", "replayed", "queue_resumed", "task_resumed", "schedule_resumed", "worker_up"],
  bad: ["failed", "dead", "lease_lost"],
  run: ["started", "progress", "log"],
  warn: ["retrying", "expired", "fires_missed", "unknown_task", "queue_paused", "task_paused", "schedule_paused"],
};

const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

const row = (told, tasks) => {
  const tone = Object.keys(TONES).find((one) => TONES[one].includes(told.event)) ?? "idle";
  const one = element("li");
  const time = element("time", "", told.at.slice(11, 23));
  time.dateTime = told.at;
  const text = element("div", "text");
  if (told.task_id) {
    const link = element("a", "", told.task_name ?? told.task_id);
    link.href = tasks + encodeURIComponent(told.task_id);
    text.append(link, " ", element("span", "id quiet", told.task_name ? told.task_id : ""));
  } else if (told.task_name) text.append(told.task_name);
  const more = [told.queue && `in ${told.queue}`, told.worker && `on ${told.worker}`, told.attempt > 1 && `attempt ${told.attempt}`];
  for (const [name, value] of Object.entries(told)) {
    if (!OWN.includes(name)) more.push(`${name.replaceAll("_", " ")}: ${typeof value === "string" ? value : JSON.stringify(value)}`);
  }
  text.append(element("span", "quiet", ` ${more.filter(Boolean).join(", ")}`));
  if (told.error) text.append(element("div", "tone-bad", told.error));
  one.append(time, element("span", `state ${tone}`, told.event.replaceAll("_", " ")), text);
  return one;
};

export const feed = () => {
  const list = document.querySelector("[data-feed]");
  if (!list) return;
  const [hold, clear] = ["hold", "clear"].map((name) => document.querySelector(`[data-feed-${name}]`));
  const said = document.querySelector("[data-feed-count]");
  let held = false;
  let waiting = [];
  let source;
  let after;
  let count = 0;

  const say = (text) => { said.textContent = text; };
  const draw = () => {
    if (held || !waiting.length) return;
    const rows = waiting.slice(-MOST).reverse().map((told) => row(told, list.dataset.tasks));
    count += waiting.length;
    waiting = [];
    list.prepend(...rows);
    while (list.children.length > MOST) list.lastChild.remove();
    say(`${count} heard`);
  };
  const hear = (event) => {
    after = event.lastEventId || after;
    waiting.push(JSON.parse(event.data));
    if (waiting.length > MOST * 4) waiting = waiting.slice(-MOST);
  };
  const listen = () => {
    source?.close();
    if (held || document.hidden) return;
    const address = new URL(list.dataset.feed, location.href);
    if (after) address.searchParams.set("after", after);
    source = new EventSource(address);
    source.onopen = () => say(count ? `${count} heard` : "listening");
    source.onerror = () => {
      say("no answer, trying");
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
    };
    for (const kind of [...document.getElementById("event").options].map((one) => one.value)) {
      if (kind) source.addEventListener(kind, hear);
    }
  };
  hold.hidden = clear.hidden = false;
  hold.addEventListener("click", () => {
    held = !held;
    hold.setAttribute("aria-pressed", held);
    hold.textContent = held ? "Go on" : "Pause";
    if (held) { source?.close(); say("held"); } else listen();
  });
  clear.addEventListener("click", () => { list.replaceChildren(); count = 0; say("listening"); });
  document.addEventListener("visibilitychange", listen);
  addEventListener("pagehide", () => source?.close());
  // Many events are drawn at once, so that a flood is not drawn one by one.
  setInterval(draw, 250);
  listen();
};
