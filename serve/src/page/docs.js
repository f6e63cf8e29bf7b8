const $ = (id) => document.getElementById(id);
const JSON_TYPE = "application/json";
// Schemas that contain themselves end here.
const DEEPEST = 7;

let key = "";
let api = null;
let fields = 0;

function node(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

// Texts have paragraphs, and `code`.
function words(text) {
  return (text ?? "").split("`").map((part, index) => (index % 2 ? node("code", "", part) : part));
}

const paragraphs = (text) => (text ?? "").split("\n\n").filter(Boolean).map((one) => node("p", "", ...words(one)));

const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

// Paths are those of the server, which may stand behind a prefix.
const url = (path) => new URL(`.${path}`, document.baseURI);

function headers(contentType) {
  const all = {};
  if (contentType) all["content-type"] = contentType;
  if (key) all.authorization = `Bearer ${key}`;
  return all;
}

function resolve(schema) {
  let found = schema ?? {};
  while (found.$ref) {
    const parts = found.$ref.replace(/^#\//, "").split("/");
    found = parts.reduce((at, part) => at?.[part.replaceAll("~1", "/").replaceAll("~0", "~")], api) ?? {};
  }
  return found;
}

function typeName(schema) {
  const found = resolve(schema);
  if (found.const !== undefined) return JSON.stringify(found.const);
  if (found.enum) return found.enum.map((one) => JSON.stringify(one)).join(" or ");
  const parts = found.oneOf ?? found.anyOf;
  if (parts) return [...new Set(parts.map(typeName))].join(" or ");
  if (found.allOf) return "object";
  const types = [found.type ?? "any value"].flat();
  return types.map((type) => (type === "array" ? `list of ${found.items ? typeName(found.items) : "any values"}` : type)).join(" or ");
}

// What is within a schema: fields, or the forms that it may have.
function within(schema, depth) {
  const found = resolve(schema);
  if (depth > DEEPEST) return [];
  const items = [];
  for (const part of found.allOf ?? []) items.push(...within(part, depth));
  for (const [name, field] of Object.entries(found.properties ?? {})) {
    items.push(entry(node("code", "", name), field, depth, (found.required ?? []).includes(name)));
  }
  const forms = (found.oneOf ?? found.anyOf ?? []).filter((form) => resolve(form).type !== "null");
  // Forms that are one type only are said already.
  if (forms.some((form) => within(form, depth + 1).length > 0 || about(form))) {
    if (forms.length === 1) items.push(...within(forms[0], depth));
    else for (const form of forms) items.push(entry(node("span", "type", "either"), form, depth, false));
  }
  if (found.items && found.items !== true) items.push(...within(found.items, depth));
  if (typeof found.additionalProperties === "object" && Object.keys(found.additionalProperties).length) {
    items.push(entry(node("span", "type", "any name"), found.additionalProperties, depth, false));
  }
  return items;
}

const about = (schema) => schema?.description ?? resolve(schema).description ?? "";

function entry(name, schema, depth, needed) {
  const item = node("li", "", name, " ", node("span", "type", typeName(schema)));
  if (needed) item.append(" ", node("span", "need", "required"));
  if (about(schema)) item.append(" ", node("span", "about", ...words(about(schema))));
  const inner = within(schema, depth + 1);
  if (inner.length) item.append(node("ul", "schema", ...inner));
  return item;
}

function shape(schema) {
  const items = within(schema, 0);
  const said = [node("p", "about", typeName(schema), about(schema) ? ". " : "", ...words(about(schema)))];
  return items.length ? [...said, node("ul", "schema", ...items)] : said;
}

function examples(content) {
  if (content.example !== undefined) return [["example", content.example]];
  return Object.entries(content.examples ?? {}).map(([name, { value }]) => [name, value]);
}

function code(value) {
  const place = node("pre", "", shown(value));
  place.tabIndex = 0;
  return place;
}

function contents(all) {
  return Object.entries(all ?? {}).flatMap(([type, content]) => [
    node("p", "", node("code", "", type)),
    ...(content.schema ? shape(content.schema) : []),
    ...examples(content).flatMap(([name, value]) => [
      node("p", "type", name === "example" ? "Example" : `Example: ${name}`),
      code(value),
    ]),
  ]);
}

function replies(responses) {
  return Object.entries(responses ?? {}).map(([status, response]) => {
    const place = node("details", "", node("summary", "", node("strong", "", status), " ", ...words(response.description)));
    // Made when it is looked at: there are hundreds.
    place.addEventListener(
      "toggle",
      () => {
        const named = Object.entries(response.headers ?? {});
        const list = named.map(([name, header]) => entry(node("code", "", name), { ...header.schema, description: header.description }, 0, false));
        if (list.length) place.append(node("p", "", "Headers"), node("ul", "schema", ...list));
        place.append(...contents(response.content));
      },
      { once: true },
    );
    return place;
  });
}

function fill(place, path, method, operation) {
  place.append(...paragraphs(operation.description));
  if (operation.security) place.append(node("p", "hint", "It asks for a key."));
  const parameters = operation.parameters ?? [];
  if (parameters.length) {
    const list = parameters.map((one) =>
      entry(node("code", "", one.name), { ...one.schema, description: one.description }, 0, one.required),
    );
    place.append(node("h3", "", "Parameters"), node("ul", "schema", ...list));
  }
  const content = operation.requestBody?.content;
  if (content) place.append(node("h3", "", "Request"), ...contents(content));
  const all = node("div", "replies", ...replies(operation.responses));
  place.append(node("h3", "", "Replies"), all);
  if (!content || content[JSON_TYPE]) place.append(attempt(path, method, operation));
}

function field(label, value, place) {
  const input = document.createElement("input");
  input.id = `field-${(fields += 1)}`;
  input.value = value;
  input.autocomplete = "off";
  const name = node("label", "", label);
  name.htmlFor = input.id;
  place.append(node("p", "row", name, input));
  return input;
}

function attempt(path, method, operation) {
  const form = $("try-template").content.firstElementChild.cloneNode(true);
  const find = (selector) => form.querySelector(selector);
  form.setAttribute("aria-label", `Try ${method.toUpperCase()} ${path}`);
  const inputs = (operation.parameters ?? [])
    .filter((one) => one.in === "path" || one.in === "query")
    .map((one) => [one, field(one.name, one.in === "path" ? (one.example ?? "") : "", find(".parameters"))]);
  // What is sent with each choice: a content type, and a body.
  const content = Object.entries(operation.requestBody?.content ?? {});
  const choices = content.flatMap(([type, one]) => examples(one).map(([name, value]) => ({ type, name, value })));
  const body = find("textarea");
  const choice = find(".example");
  if (choices.length) {
    body.id = `field-${(fields += 1)}`;
    find(".content label").htmlFor = body.id;
    choice.append(
      ...choices.map(({ type, name }, index) => {
        const said = type === JSON_TYPE ? name : `${type}${name === "example" ? "" : `, ${name}`}`;
        return new Option(said, index);
      }),
    );
    const take = () => {
      const { type, value } = choices[choice.value];
      find(".content label").textContent = `Body, ${type}`;
      body.value = shown(value);
    };
    choice.addEventListener("change", take);
    take();
  }
  find(".content").hidden = choices.length === 0;
  find(".content + .buttons .hint").hidden = choices.length === 0;
  find(".choice").hidden = choices.length < 2;
  let running = false;
  const send = async (event) => {
    event.preventDefault();
    if (running) return;
    running = true;
    find(".send").setAttribute("aria-disabled", "true");
    find(".outcome").className = "outcome";
    find(".outcome").textContent = "Asking…";
    const named = inputs.filter(([one, input]) => one.in === "path" && input.value !== "");
    const to = url(named.reduce((at, [one, input]) => at.replace(`{${one.name}}`, encodeURIComponent(input.value)), path));
    for (const [one, input] of inputs) if (one.in === "query" && input.value !== "") to.searchParams.set(one.name, input.value);
    const options = { method: method.toUpperCase(), headers: headers(choices[choice.value]?.type), cache: "no-store" };
    if (choices.length) options.body = body.value;
    const begun = performance.now();
    try {
      const reply = await fetch(to, options);
      const text = await reply.text();
      const time = Math.round(performance.now() - begun);
      find(".outcome").classList.add(reply.ok ? "good" : "bad");
      find(".outcome").textContent = `${reply.status} ${reply.statusText} in ${time} ms`;
      find(".headers").textContent = [...reply.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
      let value = text;
      if ((reply.headers.get("content-type") ?? "").startsWith(JSON_TYPE)) {
        try { value = JSON.parse(text); } catch { /* it is shown as it is */ }
      }
      find(".text").textContent = shown(value);
      find(".reply").hidden = false;
      if (reply.status === 401) $("key-row").hidden = false;
    } catch {
      find(".outcome").classList.add("bad");
      find(".outcome").textContent = "The server does not answer.";
      find(".reply").hidden = true;
    } finally {
      running = false;
      find(".send").removeAttribute("aria-disabled");
    }
  };
  form.addEventListener("submit", send);
  body.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send(event);
  });
  return form;
}

function operations() {
  const known = new Map((api.tags ?? []).map((tag) => [tag.name, { tag, all: [] }]));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of ["get", "post"]) {
      const operation = item[method];
      if (!operation) continue;
      const name = operation.tags?.[0] ?? "Others";
      if (!known.has(name)) known.set(name, { tag: { name }, all: [] });
      known.get(name).all.push([path, method, operation]);
    }
  }
  const sections = [...known.values()].filter(({ all }) => all.length).map(({ tag, all }) => {
    const title = node("h2", "", tag.name);
    const section = node("section", "", title, ...paragraphs(tag.description));
    title.id = `tag-${tag.name.toLowerCase().replaceAll(/\W+/g, "-")}`;
    section.setAttribute("aria-labelledby", title.id);
    for (const [path, method, operation] of all) section.append(listed(path, method, operation));
    return section;
  });
  $("operations").replaceChildren(...sections);
}

function listed(path, method, operation) {
  const place = $("operation-template").content.firstElementChild.cloneNode(true);
  // The other page has ids of its own in the same style sheet.
  place.id = `op-${operation.operationId}`;
  place.querySelector(".method").textContent = method.toUpperCase();
  place.querySelector(".path").textContent = path;
  place.querySelector(".what").append(...words(operation.summary));
  place.dataset.words = `${method} ${path} ${operation.summary ?? ""} ${operation.tags ?? ""}`.toLowerCase();
  place.addEventListener("toggle", () => fill(place.querySelector(".body"), path, method, operation), { once: true });
  return place;
}

function filter() {
  const wanted = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const section of $("operations").children) {
    let any = false;
    for (const one of section.querySelectorAll(".operation")) {
      one.hidden = !wanted.every((word) => one.dataset.words.includes(word));
      if (!one.hidden) {
        any = true;
        found += 1;
      }
    }
    section.hidden = !any;
  }
  $("status").textContent = found === 1 ? "1 operation." : `${found} operations.`;
}

// An operation that the address names is open.
function open() {
  const place = $(decodeURIComponent(location.hash.slice(1)));
  if (place?.classList.contains("operation")) {
    place.open = true;
    place.scrollIntoView();
  }
}

async function load() {
  let reply;
  try {
    reply = await fetch(url("/openapi.json"), { headers: headers() });
  } catch {
    $("status").textContent = "The server does not answer.";
    return;
  }
  if (reply.status === 401) {
    $("key-row").hidden = false;
    $("status").textContent = key ? "The server does not know this key." : "The server asks for an API key.";
    $("key").focus();
    return;
  }
  if (!reply.ok) {
    $("status").textContent = `The server does not give its description (status ${reply.status}).`;
    return;
  }
  api = await reply.json();
  $("key-row").hidden = !api.components?.securitySchemes;
  $("about").replaceChildren(...paragraphs(api.info.description));
  operations();
  filter();
  open();
}

$("access").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value;
  load();
});
$("key").addEventListener("change", () => {
  key = $("key").value;
});
$("filter").addEventListener("input", filter);
addEventListener("hashchange", open);
load();
