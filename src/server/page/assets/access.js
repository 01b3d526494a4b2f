// Who has what, where: a row for each person, a column for each place; a cell opens the Grants behind it.

import { Grid, line } from "./grid.js";
import { get } from "./source.js";
import { count, day, field, grants, make, table } from "./words.js";

export const title = () => "Access";

export async function show(content, _name, { say, details, missing }) {
  const matrix = await get("access");
  missing(matrix.missing);
  const rows = matrix.people.map((person) => row(matrix, person));
  const columns = ["Person", ...matrix.places.map((place) => (place.kind === "provider" ? `${place.name} (account)` : place.name))];
  const grid = new Grid({ label: "Who has what, where", columns, cell, open: (row, column) => open(matrix, row, column, details) });
  const { form, input } = field("Filter by person, team or role", { id: "filter", type: "search", spellcheck: false });
  const told = make("p", { class: "note", id: "told" });
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = rows.filter((row) => words.every((word) => row.words.includes(word)));
    grid.show(shown);
    told.textContent = words.length ? `${count(shown.length, "person", "people")} of ${rows.length.toLocaleString("en")}` : count(rows.length, "person", "people");
    say(told.textContent);
  };
  input.addEventListener("input", () => {
    cancelAnimationFrame(input.waiting);
    input.waiting = requestAnimationFrame(filter);
  });
  content.replaceChildren(form, told, grid.element);
  filter();
}

function row(matrix, [name, display, state, teams, cells]) {
  const held = new Map(cells.map(([place, roles]) => [place, roles.map(([role, since, right]) => ({ role: matrix.roles[role], since, right }))]));
  const named = teams.map((team) => matrix.teams[team]);
  const roles = [...held.values()].flat().map((it) => it.role);
  return { name, display, state, teams: named, held, words: [name, display, ...named, ...roles].join("\n").toLowerCase() };
}

function cell(row, column) {
  if (column === 0) {
    const second = [row.state && row.state !== "Active" ? row.state : "", row.teams.join(", ")].filter(Boolean).join(" · ");
    return [line(row.display ? `${row.display} (${row.name})` : row.name), second && line(second, "muted")];
  }
  const held = row.held.get(column - 1);
  if (!held) return make("span", { class: "unseen" }, "no access");
  const since = Math.min(...held.map((it) => it.since));
  const right = held.every((it) => it.right);
  return [
    line(held.map((it) => it.role).join(", ")),
    line(`${right ? "✓ verified" : "⚠ not verified"} · since ${day(since)}`, right ? "good" : "bad"),
  ];
}

async function open(matrix, row, column, details) {
  if (column === 0) {
    location.hash = `#/people/${encodeURIComponent(row.name)}`;
    return;
  }
  const place = matrix.places[column - 1];
  if (!row.held.has(column - 1)) return;
  await details(`${row.name} in ${place.name}`, async () => {
    const person = await get(`people/${encodeURIComponent(row.name)}`);
    const target = `${place.kind}/${place.name}`;
    const found = grants(person, (grant) => grant.active && grant.targets.some((it) => it.name === target && !it.until));
    const link = make("a", { href: `#/people/${encodeURIComponent(row.name)}` }, `Timeline of ${row.name}`);
    return [table(`Grants of ${row.name} in ${place.name}`, found.headings, found.rows), make("p", {}, link)];
  });
}
