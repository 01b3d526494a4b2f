// The four figures, over all and for each team.

import { get } from "./source.js";
import { make, moment, place, table } from "./words.js";

export const title = () => "Scorecard";

export async function show(content, _name, { say }) {
  const { scorecards } = await get("scorecards");
  const told = scorecards.filter((card) => card.figures);
  if (!told.length) {
    content.replaceChildren(make("p", {}, "There are no figures yet: usher writes them a moment after it has read the clusters."));
    return;
  }
  const [all, teams] = [told.find((card) => !card.team), told.filter((card) => card.team)];
  const parts = [];
  if (all) parts.push(make("h2", {}, "Everybody"), figures(all), ...details(all.figures));
  if (teams.length) parts.push(make("h2", {}, "Teams"), table("The four figures of each team", HEADINGS, teams.map(row)));
  content.replaceChildren(make("div", { class: "reading" }, parts));
  say(`Figures of ${told.length === 1 ? "everybody" : `everybody and ${teams.length} teams`}`);
}

const HEADINGS = ["Team", "People", "Time to First Commit", "of it: Time to Access", "Access Error Rate", "Manual Touchpoints", "Consistency Index"];

const none = "no figure yet";

function times(it) {
  return it.p50 ? `${it.p50} (nine of ten: ${it.p90})` : none;
}

function row(card) {
  const it = card.figures;
  return [
    card.team,
    String(it.people),
    times(it.timeToFirstCommit),
    times(it.timeToAccess),
    it.accessErrorRate.value ?? none,
    it.manualTouchpoints.perPerson ?? none,
    it.consistency.value ?? none,
  ];
}

function figures(card) {
  const it = card.figures;
  const figure = (name, value, note) => make("div", {}, make("dt", {}, name), make("dd", { class: "value" }, value ?? "–"), make("dd", { class: "muted" }, note));
  return make("dl", { class: "figures" },
    figure("Time to First Commit", it.timeToFirstCommit.p50, `${it.timeToFirstCommit.count} people pushed; access took ${it.timeToAccess.p50 ?? "–"}`),
    figure("Access Error Rate", it.accessErrorRate.value, `${it.accessErrorRate.errors} of ${it.accessErrorRate.expected} cells in error`),
    figure("Manual Touchpoints", it.manualTouchpoints.perPerson, `per person; ${it.manualTouchpoints.total} in ${card.window}`),
    figure("Consistency Index", it.consistency.value, `${it.consistency.right} of ${it.consistency.cells} Roles of people alike`));
}

function details(it) {
  const worst = (it.accessErrorRate.worst ?? []).map((cell) => [cell.developer, place(cell.target), cell.kind, cell.message]);
  const hands = (it.manualTouchpoints.latest ?? []).map((touch) => [moment(touch.at), touch.kind, touch.what]);
  return [
    make("p", { class: "note" }, `${it.people} people. A figure last changed ${moment(it.observedAt) || "never"}.`),
    worst.length ? table("The worst cells", ["Person", "Where", "Error", "What is wrong"], worst) : "",
    hands.length ? table("By hand, the last of it", ["Seen", "What", "About"], hands) : "",
  ];
}
