// A chat with the server's own API. All text is set as text, never as markup.
const at = (id) => document.getElementById(id);
const talk = { messages: [], scores: [], model: null, probes: {}, abort: null };

// What moves the cursor, hides text or turns its direction is shown as an escape, as `core.display.printable` does.
const harmless = (text) => text.replace(/[\p{C}\u2028\u2029]/gu, (found) => /[\n\t\u200c\u200d]/.test(found) ? found
  : [...Array(found.length).keys()].map((k) => `\\u${found.charCodeAt(k).toString(16).padStart(4, "0")}`).join(""));
const make = (name, text = "", kind = "") => {
  const element = document.createElement(name);
  element.textContent = harmless(text);
  if (kind) element.className = kind;
  return element;
};
const drawn = (name, attributes, text = "") => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
};
const percent = (share) => share === null || share === undefined ? "–" : `${(100 * share).toFixed(1)} %`;
const say = (text) => { at("status").textContent = harmless(text); };

// Nine shades: the token's own probability, even odds in the middle.
const level = (share) => share === null || share === undefined ? 0 : Math.max(-4, Math.min(4, Math.round((share - 0.5) * 9)));
const shade = (share) => { const k = level(share); return k > 0 ? `p${k}` : k < 0 ? `n${-k}` : "plain"; };

async function ask(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  if (at("key").value) headers.Authorization = `Bearer ${at("key").value}`;
  const answer = await fetch(path, { method: body ? "POST" : "GET", headers, signal, body: body && JSON.stringify(body) });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => null);
  const error = new Error(told?.error?.message ?? `the server answers ${answer.status}`);
  error.status = answer.status;
  throw error;
}

async function* events(answer) {
  let held = "";
  for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
    held += part;
    const whole = held.split("\n\n");
    held = whole.pop();
    for (const one of whole) {
      if (one === "data: [DONE]") return;
      const row = JSON.parse(one.slice("data: ".length));
      if (row.error) throw new Error(row.error.message);
      yield row;
    }
  }
  throw new Error("the reply broke off");
}

async function open() {
  try {
    const { data: [model] } = await (await ask("/v1/models")).json();
    Object.assign(talk, { model: model.id, probes: model.mup.probes });
    at("about").textContent = harmless(`${model.id}, revision ${model.mup.revision}, reads ${model.mup.context} tokens`);
    at("probe").replaceChildren(...Object.entries(talk.probes).map(([name, probe]) => {
      const option = make("option", `${name} (${probe.family}, layer ${probe.layer})`);
      option.value = name;
      return option;
    }));
    at("legend").replaceChildren(...[0, 0.25, 0.5, 0.75, 1].map((share) => make("li", percent(share), shade(share))));
    at("door").hidden = true;
    at("talk").hidden = false;
    say("");
    draw();
    at("question").focus();
  } catch (error) {
    at("about").textContent = "";
    at("door").hidden = error.status !== 401;
    say(error.status === 401 && !at("key").value ? "This server asks for a key." : error.message);
    if (error.status === 401) at("key").focus();
  }
}

function turn(role, text) {
  const element = make("div", "", "turn");
  const words = make("div", text, "words");
  words.dir = "auto";
  element.append(make("div", role, "role"), words);
  at("turns").append(element);
  at("turns").scrollTop = at("turns").scrollHeight;
  return { element, words };
}

function token(words, score) {
  const probe = at("probe").value;
  const span = make("span", score.text, shade(score.token[probe]));
  span.score = score;
  const wasFlagged = words.lastElementChild?.score.flagged.includes(probe);
  if (score.flagged.includes(probe) && !wasFlagged) span.classList.add("caught");
  span.title = `alone ${percent(score.token[probe])}, so far ${percent(score.running[probe])}`;
  words.append(span);
  at("turns").scrollTop = at("turns").scrollHeight;
}

function verdict(element, outcome) {
  const told = Object.entries(outcome.scores).map(([name, score]) =>
    `${name} ${percent(score.probability)}, ${score.flagged ? "flagged" : "not flagged"}`);
  const line = make("p", `${told.join("; ")}; ${outcome.action}`, "verdict");
  line.classList.toggle("flagged", Object.values(outcome.scores).some((score) => score.flagged));
  element.append(line);
}

function draw() {
  const probe = at("probe").value, limit = talk.probes[probe]?.threshold.probability ?? null;
  const values = talk.scores.map((score) => score.running[probe]);
  const x = (k) => 40 + 545 * (values.length > 1 ? k / (values.length - 1) : 0), y = (share) => 145 - 130 * share;
  const svg = at("curve").querySelector("svg");
  svg.replaceChildren();
  for (const share of [0, 0.5, 1]) {
    svg.append(drawn("line", { class: "axis", x1: 40, x2: 585, y1: y(share), y2: y(share) }));
    svg.append(drawn("text", { x: 4, y: y(share) + 4 }, `${100 * share} %`));
  }
  const points = values.flatMap((share, k) => share === null ? [] : [`${x(k).toFixed(1)},${y(share).toFixed(1)}`]);
  svg.append(drawn("polyline", { class: "score", points: points.join(" ") }));
  if (points.length) {
    const [left, top] = points[points.length - 1].split(",");
    svg.append(drawn("circle", { class: "score-dot", cx: left, cy: top, r: 3.5 }));
  }
  if (limit !== null) {
    svg.append(drawn("line", { class: "threshold", x1: 40, x2: 585, y1: y(limit), y2: y(limit) }));
    svg.append(drawn("text", { class: "threshold-text", x: 585, y: y(limit) + (values.at(-1) > limit ? 14 : -5), "text-anchor": "end" }, "flags from here"));
  }
  const last = values.length ? `after ${values.length} tokens the probability is ${percent(values[values.length - 1])}` : "no token has been scored yet";
  at("told").textContent = harmless(`${probe}: ${last}; ${limit === null ? "it has no threshold" : `it flags from ${percent(limit)}, marked by a bar where it first does`}.`);
}

async function send() {
  const said = at("question").value;
  if (!said.trim() || talk.abort) return;
  talk.abort = new AbortController();
  at("send").disabled = true;
  at("stop").disabled = false;
  at("question").value = "";
  say("");
  const own = turn("user", said), { element, words } = turn("assistant", "");
  const reply = { role: "assistant", content: "" };
  let reasoning = "";
  try {
    const messages = [...talk.messages, { role: "user", content: said }];
    const body = { model: talk.model, messages, stream: true, scores: true, temperature: Number(at("temperature").value) };
    for await (const { choices: [choice] } of events(await ask("/v1/chat/completions", body, talk.abort.signal))) {
      reply.content += choice.delta.content ?? "";
      reasoning += choice.delta.reasoning_content ?? "";
      if (choice.mup?.running) {
        talk.scores.push(choice.mup);
        token(words, choice.mup);
        draw();
      }
      if (choice.finish_reason) verdict(element, choice.mup);
    }
    talk.messages = [...messages, reasoning ? { ...reply, reasoning_content: reasoning } : reply];
  } catch (error) {
    if (error.name === "AbortError") {
      element.append(make("p", "stopped by you", "verdict"));
      talk.messages = reply.content ? [...talk.messages, { role: "user", content: said }, reply] : talk.messages;
    } else {
      say(error.message);
      if (!words.childNodes.length) {
        own.element.remove();
        element.remove();
        at("question").value = said;
      }
    }
  } finally {
    talk.abort = null;
    at("send").disabled = false;
    at("stop").disabled = true;
    at("question").focus();
  }
}

at("ask").addEventListener("submit", (event) => { event.preventDefault(); send(); });
at("door").addEventListener("submit", (event) => { event.preventDefault(); open(); });
at("stop").addEventListener("click", () => talk.abort?.abort());
at("anew").addEventListener("click", () => {
  talk.abort?.abort();
  Object.assign(talk, { messages: [], scores: [] });
  at("turns").replaceChildren();
  say("");
  draw();
  at("question").focus();
});
at("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") talk.abort?.abort(); });
at("probe").addEventListener("change", () => {
  for (const words of document.querySelectorAll(".words")) {
    const scores = [...words.children].map((span) => span.score);
    if (!scores.length) continue;
    words.replaceChildren();
    scores.forEach((score) => token(words, score));
  }
  draw();
});
open();
