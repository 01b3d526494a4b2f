// Signs people in, and shows one view after another. The part of the address behind # says which; it never has the token in it.

import * as access from "./access.js";
import * as departures from "./departures.js";
import * as people from "./people.js";
import * as scorecards from "./scorecards.js";
import { forget, get, Refused, take } from "./source.js";
import { make } from "./words.js";

const VIEWS = { access, people, departures, scorecards };

const at = (id) => document.getElementById(id);
const say = (text) => (at("said").textContent = text);

let session;

at("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = at("token");
  at("door-said").textContent = "";
  try {
    const text = input.value;
    input.value = "";
    take(text);
    session = await get("session");
  } catch (error) {
    forget();
    at("door-said").textContent = error.message;
    input.focus();
    return;
  }
  at("user").textContent = session.user;
  seen(true);
  await route();
});

at("leave").addEventListener("click", () => leave(""));
at("reload").addEventListener("click", () => route());
at("close").addEventListener("click", () => at("details").close());
at("skip").addEventListener("click", (event) => {
  event.preventDefault();
  at("main").focus();
});
window.addEventListener("hashchange", () => {
  at("details").close();
  if (session) route();
});

// Forgets who it was, and says why.
function leave(why) {
  session = undefined;
  forget();
  at("details").close();
  at("content").replaceChildren();
  at("missing").replaceChildren();
  seen(false);
  document.title = "usher";
  at("door-said").textContent = why;
  at("token").focus();
}

function seen(inside) {
  at("door").hidden = inside;
  for (const id of ["views", "session", "view"]) at(id).hidden = !inside;
}

function wanted() {
  const [, view, name] = /^#\/([a-z]+)(?:\/(.+))?$/.exec(location.hash) ?? [];
  const first = session.views.find((offer) => !offer.refused)?.view ?? "access";
  return VIEWS[view] ? [view, decode(name ?? "")] : [first, ""];
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// Shows the view that the address names. What was asked for before and comes late is not shown any more.
let turn = 0;
async function route() {
  const mine = ++turn;
  const [name, person] = wanted();
  const view = VIEWS[name];
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  at("title").textContent = view.title(person);
  document.title = `${view.title(person)} · usher`;
  at("wrong").textContent = "";
  at("missing").replaceChildren();
  const content = make("div", { id: "content", "aria-busy": "true" }, make("p", { class: "note" }, "Loading …"));
  at("content").replaceWith(content);
  at("title").focus();
  const missing = (sentences) => mine === turn && at("missing").replaceChildren(...sentences.map((sentence) => make("p", {}, sentence)));
  try {
    const refused = session.views.find((offer) => offer.view === name)?.refused;
    if (refused) throw new Refused(403, refused);
    await view.show(content, person, { say, details, missing });
  } catch (error) {
    if (mine !== turn) return;
    content.querySelectorAll(".note").forEach((note) => note.remove());
    complain(error, at("wrong"));
  } finally {
    content.removeAttribute("aria-busy");
  }
}

function complain(error, place) {
  if (error instanceof Refused && error.status === 401) leave(error.message);
  else if (error instanceof Refused) place.textContent = error.message;
  else {
    place.textContent = "This page is broken here. Tell whoever runs usher.";
    console.error(error);
  }
}

// Opens what is behind something, over the view; closing it leads back to where one was.
async function details(title, work) {
  const dialog = at("details");
  at("details-title").textContent = title;
  at("details-content").replaceChildren(make("p", { class: "note" }, "Loading …"));
  dialog.showModal();
  at("details-title").focus();
  try {
    const parts = await work();
    at("details-content").replaceChildren(...parts.filter(Boolean));
  } catch (error) {
    const told = make("p", { role: "alert" });
    at("details-content").replaceChildren(told);
    complain(error, told);
  }
}
