// Who left, and the receipt of each.

import { Grid, line } from "./grid.js";
import { get } from "./source.js";
import { count, make, moment, place, table, time } from "./words.js";

export const title = () => "Departures";

const COLUMNS = ["Person", "State", "Asked for", "Access gone after", "Completed", "Left over"];

export async function show(content, _name, { say, details }) {
  const { departures, total } = await get("departures");
  const told = departures.length < total ? `The newest ${departures.length.toLocaleString("en")} of ${count(total, "departure", "departures")}` : count(total, "departure", "departures");
  const grid = new Grid({ label: "Who left", columns: COLUMNS, cell, open: (it) => details(`Receipt of ${it.developer}`, async () => receipt(it)) });
  content.replaceChildren(make("p", { class: "note" }, told), grid.element);
  grid.show(departures);
  say(told);
}

function cell(it, column) {
  const state = it.returnedAt ? "Returned" : it.state || "Begun";
  const style = it.overdue ? "bad" : it.state.startsWith("Complete") ? "good" : "";
  return [
    () => [line(it.developer), line(it.name, "muted")],
    () => [line(state, style), it.overdue ? line("overdue", "bad") : ""],
    () => [line(moment(it.requestedAt)), line(`by ${it.requestedBy}`, "muted")],
    () => line(it.accessGone || "not yet"),
    () => line(it.completedAt ? moment(it.completedAt) : "not yet"),
    () => line(it.leftoverCount ? String(it.leftoverCount) : "nothing", it.leftoverCount ? "bad" : ""),
  ][column]();
}

function receipt(it) {
  const facts = [
    `Asked for at ${moment(it.requestedAt)} by ${it.requestedBy}.`,
    it.accessGone ? `Every API server that answers denied after ${it.accessGone}.` : "Not every API server denies yet.",
    it.completedAt ? `Nothing was left at ${moment(it.completedAt)}.` : "",
    it.returnedAt ? `Came back at ${moment(it.returnedAt)}: this receipt is history.` : "",
    it.held ? `Destruction is held: ${it.held}.` : "",
  ].filter(Boolean);
  const targets = it.targets.map((target) => [
    place(target.target),
    target.state,
    target.verifiedAt ? time(target.verifiedAt) : "not yet",
    target.credentials ?? "",
    target.deleteAt ? time(target.deleteAt) : "",
    [target.lastError ?? "", target.nextTryAt ? make("div", { class: "muted" }, `next try ${moment(target.nextTryAt)}`) : ""],
  ]);
  const leftovers = it.leftovers.map((left) => [place(left.target), left.object, left.reason]);
  return [
    make("p", {}, make("code", {}, `departure/${it.name}`)),
    ...facts.map((fact) => make("p", { class: "note" }, fact)),
    targets.length ? table("Where, and how it stands", ["Where", "State", "Verified", "Credentials", "Data is deleted", "Went wrong"], targets) : "",
    leftovers.length ? table(`Left over: ${it.leftoverCount}`, ["Where", "What", "Why, and what to do"], leftovers) : "",
    make("p", {}, make("a", { href: `#/people/${encodeURIComponent(it.developer)}` }, `Timeline of ${it.developer}`)),
  ];
}
