const $ = (id) => document.getElementById(id);
const HISTORY = "worldpm-ort.history";
const KEEP = "worldpm-ort.keep";
const MOST = 30;
// Of a long text its two ends are shown.
const SHOWN = 4000;

let key = "";
let running = false;
let fields = 0;

const letter = (index) => (index < 26 ? String.fromCharCode(65 + index) : String(index + 1));

// Where a browser keeps nothing, as in a private window, so does the page.
const stored = {
  get(name) {
    try { return localStorage.getItem(name); } catch { return null; }
  },
  set(name, value) {
    try { localStorage.setItem(name, value); } catch { /* full, or not allowed */ }
  },
};

function field(list, role, value) {
  const node = $("turn-template").content.firstElementChild.cloneNode(true);
  const area = node.querySelector("textarea");
  area.id = `field-${(fields += 1)}`;
  node.querySelector("label").htmlFor = area.id;
  area.value = value ?? "";
  node.dataset.role = role;
  node.querySelector(".remove").addEventListener("click", () => {
    const next = node.nextElementSibling ?? node.previousElementSibling;
    node.remove();
    rename();
    next?.querySelector("textarea").focus();
  });
  list.append(node);
  rename();
  return area;
}

function rename() {
  const turns = [...$("turns").children];
  const names = { system: "System message", user: "User", assistant: "Assistant" };
  const count = { user: 0, assistant: 0 };
  for (const turn of turns) {
    const role = turn.dataset.role;
    let name = names[role];
    if (role !== "system") {
      count[role] += 1;
      name = turns.length > 1 ? `${name} ${count[role]}` : "Prompt";
    }
    label(turn, name, turns.length > 1);
  }
  const answers = [...$("answers").children];
  answers.forEach((answer, index) => label(answer, `Answer ${letter(index)}`, answers.length > 1));
  $("add-system").hidden = turns.some((turn) => turn.dataset.role === "system");
}

function label(node, name, removable) {
  node.querySelector("label").textContent = name;
  const remove = node.querySelector(".remove");
  remove.textContent = "Remove";
  remove.setAttribute("aria-label", `Remove ${name}`);
  remove.hidden = !removable;
}

function read() {
  const value = (node) => node.querySelector("textarea").value;
  const messages = [...$("turns").children].map((turn) => ({ role: turn.dataset.role, content: value(turn) }));
  return { messages, answers: [...$("answers").children].map(value) };
}

function fill({ messages, answers }) {
  $("turns").replaceChildren();
  $("answers").replaceChildren();
  for (const { role, content } of messages) field($("turns"), role, content);
  for (const answer of answers) field($("answers"), "answer", answer);
}

async function ask(path, body) {
  const headers = { "content-type": "application/json" };
  if (key) headers.authorization = `Bearer ${key}`;
  const options = body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) };
  let reply;
  try {
    reply = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer.");
  }
  const text = await reply.text();
  let value;
  try { value = JSON.parse(text); } catch { value = {}; }
  if (reply.ok) return value;
  if (reply.status === 401) {
    $("key-row").hidden = false;
    $("key").focus();
    throw new Error("The server asks for an API key.");
  }
  const message = value?.error?.message ?? value?.error ?? reply.statusText;
  throw new Error(`${message} (status ${reply.status})`);
}

async function score(event) {
  event?.preventDefault();
  if (running) return;
  key = $("key").value;
  const asked = read();
  if (asked.answers.every((answer) => answer.trim() === "")) {
    $("status").textContent = "Write at least one answer first.";
    $("answers").querySelector("textarea").focus();
    return;
  }
  running = true;
  $("score").setAttribute("aria-disabled", "true");
  $("status").textContent = "Scoring…";
  const model = $("model").value || undefined;
  const conversations = asked.answers.map((answer) => [...asked.messages, { role: "assistant", content: answer }]);
  const begun = performance.now();
  try {
    const reply = await ask("v1/score", { model, records: conversations.map((messages) => ({ messages })) });
    const time = performance.now() - begun;
    show(reply, conversations, time);
    remember({ ...asked, scores: reply.results.map((result) => single(result)), at: Date.now() });
  } catch (error) {
    $("results").replaceChildren();
    $("status").textContent = error.message;
  } finally {
    running = false;
    $("score").removeAttribute("aria-disabled");
  }
}

// The one number of a result, where there is one.
const single = (result) => (typeof result.score === "number" ? result.score : null);
const digits = (number, places = 3) => number.toFixed(places).replace("-", "\u2212");

function show(reply, conversations, time) {
  const results = reply.results.map((result, index) => ({ result, index, score: single(result) }));
  const scored = results.filter(({ score }) => score !== null).sort((a, b) => b.score - a.score);
  const others = results.filter(({ score }) => score === null);
  const numbers = scored.map(({ score }) => score);
  const [least, most] = [Math.min(0, ...numbers), Math.max(0, ...numbers)];
  // So that zero is seen where all scores are on one side of it.
  const room = (most - least) * 0.04;
  const [low, high] = [least - room, most + room];
  const best = scored[0]?.score;
  const items = [...scored, ...others].map(({ result, index, score }, place) => {
    const item = $("result-template").content.firstElementChild.cloneNode(true);
    const first = place === 0 && score !== null && scored.length > 1;
    item.classList.toggle("best", first);
    item.querySelector("h3").textContent = `Answer ${letter(index)}${first ? ", the best" : ""}`;
    const facts = [];
    if (score === null) item.querySelector(".bar").remove();
    else {
      bar(item, score, low, high);
      facts.push(["Score", digits(score)]);
      if (place > 0) {
        const margin = score - best;
        facts.push(["Margin to the best", digits(margin)]);
        // Bradley-Terry; models that score steps are not trained on preferences.
        if (!result.steps) facts.push(["Probability to be preferred", `${digits(100 / (1 + Math.exp(-margin)), 1)} %`]);
      }
    }
    for (const [name, value] of Object.entries(result.scores ?? {})) facts.push([name, digits(value)]);
    (result.steps ?? []).forEach((value, step) => facts.push([`Step ${step + 1}`, digits(value)]));
    if (result.error) {
      const error = item.querySelector(".error");
      error.hidden = false;
      error.textContent = result.error.message;
      item.querySelector("details").remove();
    } else {
      facts.push(["Tokens", `${result.tokens}${result.truncated ? ", truncated" : ""}`]);
      facts.push(["In the model", `${digits(result.timings.computing_ms, 1)} ms`]);
      const details = item.querySelector("details");
      details.addEventListener("toggle", () => render(details, conversations[index]), { once: true });
    }
    item.querySelector("dl").append(...facts.map(fact));
    return item;
  });
  $("results").replaceChildren(...items);
  const failed = others.filter(({ result }) => result.error).length;
  const said = [`${results.length - failed} of ${results.length} answers scored by ${reply.model} in ${Math.round(time)} ms.`];
  if (scored.length > 1) said.push(`The best is answer ${letter(scored[0].index)} with ${digits(best)}.`);
  $("status").textContent = said.join(" ");
}

function bar(item, score, low, high) {
  const span = high - low || 1;
  const zero = ((0 - low) / span) * 100;
  const end = ((score - low) / span) * 100;
  const piece = item.querySelector(".fill");
  piece.style.left = `${Math.min(zero, end)}%`;
  piece.style.width = `${Math.abs(end - zero)}%`;
  piece.classList.toggle("negative", score < 0);
  item.querySelector(".zero").style.left = `calc(${zero}% - 1px)`;
}

function fact([name, value]) {
  const node = document.createElement("div");
  const term = document.createElement("dt");
  const said = document.createElement("dd");
  term.textContent = name;
  said.textContent = value;
  node.append(term, said);
  return node;
}

async function render(details, messages) {
  const place = details.querySelector("pre");
  place.textContent = "…";
  try {
    const text = await ask("v1/render", { model: $("model").value || undefined, messages });
    const { start, end } = text.scored;
    const ends = (part, fromEnd) => {
      if (part.length <= SHOWN) return part;
      const cut = ` … ${part.length - SHOWN} characters … `;
      return fromEnd ? cut + part.slice(-SHOWN) : part.slice(0, SHOWN / 2) + cut + part.slice(-SHOWN / 2);
    };
    const mark = document.createElement("mark");
    mark.textContent = text.text.slice(start, end);
    mark.title = "the token at which the model is scored";
    place.replaceChildren(ends(text.text.slice(0, start), false), mark, ends(text.text.slice(end), true));
  } catch (error) {
    place.textContent = error.message;
  }
}

function history() {
  try {
    const entries = JSON.parse(stored.get(HISTORY) ?? "[]");
    return Array.isArray(entries) ? entries : [];
  } catch {
    return [];
  }
}

function remember(entry) {
  if (!$("keep").checked) return;
  stored.set(HISTORY, JSON.stringify([entry, ...history()].slice(0, MOST)));
  list();
}

function list() {
  const entries = history();
  $("history").replaceChildren(
    ...entries.map((entry) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      const last = entry.messages.findLast(({ role }) => role === "user")?.content.trim() ?? "";
      button.textContent = last.length > 70 ? `${last.slice(0, 70)}…` : last || "(no prompt)";
      button.addEventListener("click", () => {
        fill(entry);
        $("status").textContent = "Taken from the history; not scored again.";
        $("turns").querySelector("textarea").focus();
      });
      const scores = document.createElement("span");
      const all = entry.scores.map((score, index) => `${letter(index)} ${score === null ? "–" : digits(score, 2)}`);
      scores.textContent = all.join(", ");
      item.append(button, scores);
      return item;
    }),
  );
  $("clear").hidden = entries.length === 0;
}

async function models() {
  try {
    const { data } = await ask("v1/models");
    $("model").replaceChildren(...data.map(({ id }) => new Option(id, id)));
    $("model-row").hidden = data.length < 2;
  } catch (error) {
    $("status").textContent = error.message;
  }
}

$("form").addEventListener("submit", score);
$("form").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) score(event);
});
$("key").addEventListener("change", () => {
  key = $("key").value;
  models();
});
$("add-answer").addEventListener("click", () => field($("answers"), "answer").focus());
$("add-turn").addEventListener("click", () => {
  const area = field($("turns"), "assistant");
  field($("turns"), "user");
  area.focus();
});
$("add-system").addEventListener("click", () => {
  const area = field($("turns"), "system");
  $("turns").prepend(area.closest(".field"));
  rename();
  area.focus();
});
$("keep").checked = stored.get(KEEP) !== "no";
$("keep").addEventListener("change", () => stored.set(KEEP, $("keep").checked ? "yes" : "no"));
$("clear").addEventListener("click", () => {
  stored.set(HISTORY, "[]");
  list();
  $("history-title").scrollIntoView({ block: "nearest" });
});

fill({ messages: [{ role: "user", content: "" }], answers: ["", ""] });
list();
models();
