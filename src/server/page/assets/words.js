// Elements and words that all views use.

// An element with properties and children. Text is always text: nothing of the cluster becomes markup.
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== ""));
  return element;
}

// A time as everybody reads it the same: UTC, to the second, as the record has it.
export function moment(when) {
  const date = typeof when === "number" ? new Date(when * 1000) : new Date(when);
  if (!when || Number.isNaN(date.getTime())) return "";
  return `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

export function day(seconds) {
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}

export function time(when) {
  return when ? make("time", { datetime: when }, moment(when)) : "";
}

// environment/dev as people say it.
export function place(target) {
  const [kind, name] = target.split("/");
  return name === undefined ? target : kind === "provider" ? `${name} (account)` : name;
}

export function count(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

// A table that is read as it is. A cell is text, an element, or a list of them; the first of a row is its header.
export function table(caption, headings, rows) {
  const head = make("tr", {}, headings.map((heading) => make("th", { scope: "col" }, heading)));
  const body = rows.map((cells) =>
    make("tr", {}, cells.map((cell, at) => make(at === 0 ? "th" : "td", at === 0 ? { scope: "row" } : {}, cell))));
  return make("div", { class: "plain", role: "region", "aria-label": caption, tabindex: "0" },
    make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, body)));
}

export function list(items) {
  return items.length === 1 ? items[0] : make("ul", {}, items.map((item) => make("li", {}, item)));
}

// A form with one field, which is not sent anywhere.
export function field(label, properties, ...more) {
  const input = make("input", properties);
  const form = make("form", { role: "search", autocomplete: "off" }, make("label", { for: properties.id }, label), input, ...more);
  form.addEventListener("submit", (event) => event.preventDefault());
  return { form, input };
}

export function grants(person, wanted) {
  const shown = person.grants.filter(wanted);
  const several = person.people > 1;
  const headings = ["Role", "Where", "Since", "Until", "Granted by", "Why", "Through"];
  const rows = shown.map((grant) => [
    [make("code", {}, `urole/${grant.role}`), several ? make("div", { class: "muted" }, `of ${grant.person}`) : ""],
    list(grant.targets.map(target)),
    time(grant.since),
    grant.active ? (grant.until ? time(grant.until) : "no end") : [time(grant.until), make("div", { class: "muted" }, `${grant.endedWhy}, by ${grant.endedBy}`)],
    [grant.grantedBy, grant.onBehalfOf ? make("div", { class: "muted" }, `for ${grant.onBehalfOf}`) : "", grant.change ? make("div", { class: "muted" }, grant.change) : ""],
    grant.reason || make("span", { class: "muted" }, "no reason given"),
    list(grant.via.filter((via) => !grant.active || !via.until).map((via) => `ubind/${via.binding}${via.team ? ` (team ${via.team})` : ""}`)),
  ]);
  return { count: shown.length, headings, rows };
}

function target(it) {
  const words = [place(it.name)];
  if (it.until) words.push(`, until ${moment(it.until)}`);
  const seen = it.verified ? make("span", { class: "good" }, " ✓ verified") : it.fault ? make("span", { class: "bad" }, ` ⚠ not verified: ${it.fault}`) : "";
  return make("span", {}, ...words, seen);
}
