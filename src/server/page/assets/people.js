// What happened to one person, and every Grant of hers.

import { get } from "./source.js";
import { count, field, grants, make, moment, place, table } from "./words.js";

export const title = (name) => (name ? `Timeline of ${name}` : "Timeline");

const WORDS = {
  grantBegan: "was given",
  placeGained: "now also has, somewhere else,",
  placeLost: "has no more, in one place,",
  grantEnded: "lost",
  locked: "was locked by",
  lockExpired: "is no longer locked by",
  departureBegan: "was told to leave:",
  accessGone: "was denied everywhere:",
  departureCompleted: "had nothing left:",
  returned: "came back:",
};

export async function show(content, name, { say, missing }) {
  const { form, input } = field("Person", { id: "person", type: "search", list: "names", spellcheck: false }, make("button", { type: "submit" }, "Show"));
  form.addEventListener("submit", () => {
    if (input.value.trim()) location.hash = `#/people/${encodeURIComponent(input.value.trim())}`;
  });
  const names = make("datalist", { id: "names" });
  const matrix = await get("access");
  names.append(...matrix.people.map(([it, display]) => make("option", { value: it }, display)));
  input.value = name;
  content.replaceChildren(form, names);
  if (!name) return;
  const person = await get(`people/${encodeURIComponent(name)}`);
  missing(person.missing);
  const events = make("ol", { class: "timeline", "aria-label": `What happened to ${name}, the newest first` }, person.events.map(event));
  const all = grants(person, () => true);
  content.append(make("div", { class: "reading" },
    facts(person),
    make("h2", {}, "What happened"), person.events.length ? events : make("p", {}, "Nothing yet."),
    make("h2", {}, "Grants"), all.count ? table(`Grants of ${name}`, all.headings, all.rows) : make("p", {}, "None.")));
  say(`${count(person.events.length, "event", "events")}, ${count(all.count, "Grant", "Grants")}`);
}

function facts(person) {
  const words = [person.displayName, person.state, person.teams.length ? `teams: ${person.teams.join(", ")}` : ""].filter(Boolean);
  const strangers = person.people > 1 ? make("p", {}, `The record knows ${person.people} people of this name; each Grant says whose it is.`) : "";
  return make("div", {}, words.length ? make("p", { class: "note" }, words.join(" · ")) : "", strangers);
}

function event(it) {
  const note = it.kind.startsWith("place") || it.kind === "grantBegan" ? it.note.split(", ").map(place).join(", ") : it.note;
  const words = [WORDS[it.kind], it.object, it.by ? `by ${it.by}` : "", note ? `(${note})` : ""].filter(Boolean).join(" ");
  return make("li", { "data-kind": it.kind }, make("time", { datetime: it.at }, moment(it.at)), " ", words);
}
