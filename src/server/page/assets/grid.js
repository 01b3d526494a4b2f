// A grid of any number of rows, of which only those in sight are in the document. Assistive technology is told how many there are and which one it reads. It is used
// with arrow keys, Home, End, Page Up and Page Down, with Ctrl to the first and last row; Enter opens a cell.

import { make } from "./words.js";

// Rows beyond what is in sight, so that scrolling shows no gap.
const BEYOND = 12;

export class Grid {
  #rows = [];
  #drawn = new Map();
  #active = { row: 0, column: 0 };
  #height = 0;

  // `cell` gives what stands in a cell, `open` is called for one that is opened.
  constructor({ label, columns, cell, open }) {
    this.columns = columns;
    this.cell = cell;
    this.open = open;
    const head = columns.map((column, at) => make("th", { scope: "col", "aria-colindex": `${at + 1}` }, column));
    this.before = pad(columns.length);
    this.after = pad(columns.length);
    this.body = make("tbody", {}, this.before, this.after);
    this.table = make("table", { role: "grid", "aria-label": label, "aria-readonly": "true", "aria-colcount": `${columns.length}` },
      make("thead", {}, make("tr", { "aria-rowindex": "1" }, head)), this.body);
    this.table.style.minWidth = `${columns.length * 12}rem`;
    this.element = make("div", { class: "scroller" }, this.table);
    // A browser tells of scrolling once for each picture, right before it draws that.
    this.element.addEventListener("scroll", () => this.#draw(), { passive: true });
    new ResizeObserver(() => this.#later()).observe(this.element);
    this.table.addEventListener("keydown", (event) => this.#key(event));
    this.table.addEventListener("click", (event) => this.#click(event));
  }

  // Shows other rows, from the first on.
  show(rows) {
    this.#rows = rows;
    this.#active = { row: 0, column: this.#active.column };
    this.table.setAttribute("aria-rowcount", `${rows.length + 1}`);
    this.#drawn.forEach((row) => row.remove());
    this.#drawn.clear();
    this.element.scrollTop = 0;
    this.#draw();
  }

  #later() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = undefined;
      this.#draw();
    });
  }

  // The height of a row, as the style sheet and the reader's font size have it.
  #measure() {
    const row = this.#drawn.values().next().value;
    this.#height = row?.getBoundingClientRect().height || this.#height || 52;
    return this.#height;
  }

  #insight() {
    const height = this.#measure();
    const head = this.table.tHead.offsetHeight;
    const first = Math.floor(this.element.scrollTop / height);
    const seen = Math.max(1, Math.floor((this.element.clientHeight - head) / height));
    return { first, seen, height, head };
  }

  #draw() {
    const { first, seen, height } = this.#insight();
    const from = Math.max(0, Math.min(first - BEYOND, this.#rows.length - 1));
    const to = Math.min(this.#rows.length, first + seen + BEYOND);
    const focused = this.body.contains(document.activeElement);
    this.#keepActive(first, seen);
    for (const [at, row] of this.#drawn) {
      if (at < from || at >= to) {
        row.remove();
        this.#drawn.delete(at);
      }
    }
    let next = this.before.nextSibling;
    for (let at = from; at < to; at++) {
      let row = this.#drawn.get(at);
      if (!row) {
        row = this.#make(at);
        this.#drawn.set(at, row);
        this.body.insertBefore(row, next);
      }
      next = row.nextSibling;
    }
    this.before.firstChild.style.height = `${from * height}px`;
    this.after.firstChild.style.height = `${Math.max(0, this.#rows.length - to) * height}px`;
    this.#mark();
    if (focused && !this.body.contains(document.activeElement)) this.#cellOf(this.#active)?.focus({ preventScroll: true });
  }

  // What is scrolled out of sight cannot be what the keyboard is at.
  #keepActive(first, seen) {
    const last = Math.max(0, this.#rows.length - 1);
    const row = Math.min(last, Math.max(this.#active.row, first - BEYOND + 1));
    this.#active.row = Math.min(row, Math.min(last, first + seen + BEYOND - 1));
  }

  #make(at) {
    const cells = this.columns.map((_, column) =>
      make(column === 0 ? "th" : "td", { ...(column === 0 ? { scope: "row" } : {}), tabindex: "-1", "aria-colindex": `${column + 1}` },
        this.cell(this.#rows[at], column)));
    return make("tr", { "aria-rowindex": `${at + 2}` }, cells);
  }

  #cellOf({ row, column }) {
    return this.#drawn.get(row)?.cells[column];
  }

  // One cell is reached by Tab.
  #mark() {
    const cell = this.#cellOf(this.#active);
    if (this.marked === cell) return;
    this.marked?.setAttribute("tabindex", "-1");
    this.marked = cell;
    cell?.setAttribute("tabindex", "0");
  }

  #key(event) {
    if (event.altKey || event.metaKey || !this.#rows.length) return;
    const { row, column } = this.#active;
    const last = { row: this.#rows.length - 1, column: this.columns.length - 1 };
    const page = this.#insight().seen;
    const moves = {
      ArrowDown: [row + 1, column],
      ArrowUp: [row - 1, column],
      ArrowRight: [row, column + 1],
      ArrowLeft: [row, column - 1],
      PageDown: [row + page, column],
      PageUp: [row - page, column],
      Home: event.ctrlKey ? [0, 0] : [row, 0],
      End: event.ctrlKey ? [last.row, last.column] : [row, last.column],
    };
    if (event.key === "Enter" || event.key === " ") this.open(this.#rows[row], column);
    else if (moves[event.key]) this.#go(Math.max(0, Math.min(last.row, moves[event.key][0])), Math.max(0, Math.min(last.column, moves[event.key][1])));
    else return;
    event.preventDefault();
  }

  #go(row, column) {
    const { height, head } = this.#insight();
    const top = row * height;
    const space = this.element.clientHeight - head;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    if (top + height > this.element.scrollTop + space) this.element.scrollTop = top + height - space;
    this.#active = { row, column };
    this.#draw();
    const cell = this.#cellOf(this.#active);
    if (!cell) return;
    // The first column stays where it is and hides what is scrolled below it.
    const left = cell.offsetLeft - (column === 0 ? 0 : this.#drawn.get(row).cells[0].offsetWidth);
    if (column > 0 && left < this.element.scrollLeft) this.element.scrollLeft = left;
    const right = cell.offsetLeft + cell.offsetWidth - this.element.clientWidth;
    if (right > this.element.scrollLeft) this.element.scrollLeft = right;
    cell.focus({ preventScroll: true });
  }

  #click(event) {
    const cell = event.target.closest("tbody th, tbody td");
    const row = cell && Number(cell.parentElement.getAttribute("aria-rowindex")) - 2;
    if (!cell || !(row >= 0)) return;
    this.#active = { row, column: cell.cellIndex };
    this.#mark();
    cell.focus({ preventScroll: true });
    this.open(this.#rows[row], cell.cellIndex);
  }
}

function pad(columns) {
  return make("tr", { class: "pad", "aria-hidden": "true" }, make("td", { colspan: `${columns}` }));
}

// A line of a cell.
export function line(text, style) {
  return make("span", { class: `line ${style ?? ""}` }, text);
}
