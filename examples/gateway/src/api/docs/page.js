"use strict";
// Shows /openapi.json. Everything is put in as text, so nothing in the document can become markup.

/** Makes an element of a name, properties, and children that are elements or texts. */
function make(name, properties, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

const METHODS = ["get", "post", "put", "patch", "delete"];
let api = {};

/** Follows a reference within the document. */
function resolve(value) {
  if (!value || !value.$ref) return value;
  const steps = value.$ref.replace(/^#\//, "").split("/");
  return steps.reduce((inner, step) => inner && inner[step.replace(/~1/g, "/").replace(/~0/g, "~")], api);
}

/** The name of a schema that stands among the others, or null. */
function nameOf(schema) {
  const match = /^#\/components\/schemas\/(.+)$/.exec((schema && schema.$ref) || "");
  return match ? match[1] : null;
}

/** Splits `code` out of words. */
function words(text) {
  return String(text || "").split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));
}

/** Says in a few words what a value is. */
function kindOf(schema) {
  const name = nameOf(schema);
  if (name) return [make("a", { href: `#schema-${name}` }, name)];
  if (!schema) return ["anything"];
  const choices = schema.oneOf || schema.anyOf;
  if (choices) return choices.flatMap((one, index) => (index ? [" or ", ...kindOf(one)] : kindOf(one)));
  if (schema.allOf) return schema.allOf.flatMap((one, index) => (index ? [" and ", ...kindOf(one)] : kindOf(one)));
  const types = [].concat(schema.type || "anything");
  const parts = [types.join(" or ")];
  if (types.includes("array") && schema.items) parts.push(" of ", ...kindOf(schema.items));
  if (schema.format) parts.push(` (${schema.format})`);
  return parts;
}

/** Lists what holds beyond the type. */
function boundsOf(schema) {
  if (!schema) return [];
  const said = [];
  if (schema.enum) said.push(`one of ${schema.enum.map((value) => JSON.stringify(value)).join(", ")}`);
  if (schema.minimum !== undefined) said.push(`at least ${schema.minimum}`);
  if (schema.maximum !== undefined) said.push(`at most ${schema.maximum}`);
  if (schema.minLength) said.push(`at least ${schema.minLength} characters`);
  if (schema.maxLength !== undefined) said.push(`at most ${schema.maxLength} characters`);
  if (schema.pattern) said.push(`like ${schema.pattern}`);
  if (schema.default !== undefined) said.push(`${JSON.stringify(schema.default)} unless said`);
  return said;
}

function table(caption, heads, rows) {
  return make("table", {},
    make("caption", { className: "skip" }, caption),
    make("thead", {}, make("tr", {}, heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", {}, rows.map((row) => make("tr", {}, row.map((cell) => make("td", {}, cell))))));
}

/** Shows the fields of an object; of anything else what it is. */
function shape(schema, caption) {
  const whole = schema || {};
  const parts = whole.allOf ? whole.allOf.map(resolve) : [whole];
  const fields = parts.flatMap((part) => Object.entries(part.properties || {}).map(([name, field]) => [name, field, (part.required || []).includes(name)]));
  if (!fields.length) return make("p", {}, "A ", kindOf(whole), whole.description ? [": ", words(whole.description)] : "");
  const rows = fields.map(([name, field, required]) => [
    [make("code", {}, name), required ? " (required)" : ""],
    kindOf(field),
    words([field.description, ...boundsOf(field)].filter(Boolean).join("; ")),
  ]);
  const open = whole.additionalProperties === true;
  const example = (whole.examples || [])[0];
  return make("div", {}, table(caption, ["Field", "Type", "About"], rows),
    open ? make("p", { className: "soft" }, "Other fields are passed on.") : null,
    example ? [make("p", {}, "For example"), make("pre", { tabIndex: 0 }, JSON.stringify(example, null, 2))] : null);
}

/** Shows a schema, or where it is shown. */
function content(contents, caption) {
  return Object.entries(contents || {}).map(([media, { schema }]) => make("div", {},
    make("p", {}, make("code", {}, media), " ", nameOf(schema) ? kindOf(schema) : ""),
    nameOf(schema) ? null : make("details", {}, make("summary", {}, "Shape"), shape(schema, caption))));
}

function access(operation) {
  const schemes = operation.security || [];
  if (!schemes.length) return "Anybody may call it.";
  const admin = schemes.some((scheme) => Object.values(scheme).some((roles) => roles.includes("admin")));
  if (admin) return "Needs the login of an admin.";
  return schemes.length > 1 ? "Needs a login or an API key." : "Needs a login.";
}

function answers(operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) => {
    const answer = resolve(response);
    return [make("code", {}, status), [words(answer.description)], content(answer.content, `Answer ${status}`)];
  });
  return table("Answers", ["Status", "When", "Content"], rows);
}

function article(path, method, operation) {
  const parameters = (operation.parameters || []).map(resolve).map((one) => [
    [make("code", {}, one.name), one.required ? " (required)" : ""],
    [`${one.in}, `, ...kindOf(one.schema)],
    words([one.description, ...boundsOf(one.schema)].filter(Boolean).join("; ")),
  ]);
  const body = resolve(operation.requestBody);
  return make("article", { id: operation.operationId },
    make("h3", {}, make("span", { className: "method" }, method.toUpperCase()), make("code", {}, path)),
    make("div", {},
      make("p", {}, words(operation.summary)),
      operation.description ? make("p", {}, words(operation.description)) : null,
      make("p", { className: "soft" }, access(operation)),
      parameters.length ? [make("h4", {}, "Parameters"), table("Parameters", ["Name", "Type", "About"], parameters)] : null,
      body ? [make("h4", {}, body.required ? "Body" : "Body (may be left out)"), content(body.content, "Body")] : null,
      make("h4", {}, "Answers"), answers(operation)));
}

/** Every operation by its tag; aliases behind what they stand for. */
function sorted() {
  const all = Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ path, method, operation: item[method] })));
  const main = all.filter(({ operation }) => !operation["x-alias-of"]);
  const tags = api.tags.map((tag) => ({
    ...tag,
    entries: main.filter(({ operation }) => operation.tags.includes(tag.name)),
  }));
  const aliases = ({ path, method }) => all
    .filter((other) => other.operation["x-alias-of"] === path && other.method === method)
    .map((other) => other.path);
  return { tags, aliases };
}

function show() {
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("about").append(...words(api.info.description));
  const main = document.getElementById("operations");
  const index = document.getElementById("index");
  const { tags, aliases } = sorted();
  for (const tag of tags) {
    const section = make("section", {}, make("h2", { id: `tag-${tag.name}` }, tag.name), make("p", {}, tag.description));
    const list = make("ul");
    for (const entry of tag.entries) {
      const shown = article(entry.path, entry.method, entry.operation);
      const others = aliases(entry);
      if (others.length) {
        const named = others.flatMap((path, at) => [at ? ", " : "", make("code", {}, path)]);
        shown.querySelector("div > p").after(make("p", { className: "soft" }, "Also as ", named, "."));
      }
      section.append(shown);
      const link = make("a", { href: `#${entry.operation.operationId}` }, `${entry.method.toUpperCase()} ${entry.path}`);
      const line = make("li", {}, link);
      line.dataset.words = [entry.path, entry.method, entry.operation.summary, tag.name, ...others].join(" ").toLowerCase();
      list.append(line);
    }
    main.append(section);
    index.append(make("div", {}, make("h2", {}, make("a", { href: `#tag-${tag.name}` }, tag.name)), list));
  }
  const schemas = Object.entries(api.components.schemas).map(([name, schema]) =>
    make("article", { id: `schema-${name}` }, make("h3", {}, name),
      make("div", {}, schema.description ? make("p", {}, words(schema.description)) : null, shape(schema, name))));
  main.append(make("section", {}, make("h2", { id: "schemas" }, "Shapes"), schemas));
  index.append(make("h2", {}, make("a", { href: "#schemas" }, "Shapes")));
}

/** Shows the lines that have all the words, and says how many. */
function filter(text) {
  const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
  const lines = [...document.querySelectorAll("#index li")];
  for (const line of lines) line.hidden = !wanted.every((word) => line.dataset.words.includes(word));
  for (const group of document.querySelectorAll("#index > div")) {
    group.hidden = [...group.querySelectorAll("li")].every((line) => line.hidden);
  }
  const left = lines.filter((line) => !line.hidden).length;
  document.getElementById("found").textContent = wanted.length ? `${left} of ${lines.length}` : "";
}

async function start() {
  const state = document.getElementById("state");
  try {
    const answer = await fetch("/openapi.json");
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    api = await answer.json();
    show();
    state.remove();
    if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
  } catch (error) {
    state.textContent = `The document cannot be shown: ${error.message}`;
  }
  document.getElementById("filter").addEventListener("input", (event) => filter(event.target.value));
}

start();
