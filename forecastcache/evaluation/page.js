"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    if (!("value" in cell.dataset)) return cell.textContent;
    return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
  };
  const compare = (one, other) => typeof one === "string" ? one.localeCompare(other) : one - other || 0;
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const way = head.ariaSort === "descending" ? "ascending"
      : head.ariaSort === "ascending" ? "descending" : column ? "descending" : "ascending";
    for (const each of heads) each.setAttribute("aria-sort", each === head ? way : "none");
    const sign = way === "ascending" ? 1 : -1;
    // A row without a figure stays at the end, whichever way.
    body.append(...[...body.rows].sort((one, other) => {
      const values = [valueOf(one, column), valueOf(other, column)];
      const missing = values.map((it) => Number.isNaN(it));
      return missing[0] || missing[1] ? missing[0] - missing[1] : sign * compare(...values);
    }));
  }));
}
for (const section of document.querySelectorAll(".samples")) {
  const sides = ["left", "right"].map((side) => section.querySelector(`select.${side}`));
  const show = () => {
    const [left, right] = sides.map((select) => Number(select.value));
    for (const sample of section.querySelectorAll(".sample")) {
      sample.querySelectorAll(".view").forEach((view, at) => {
        view.classList.toggle("left", at === left);
        view.classList.toggle("right", at === right);
      });
      sample.querySelectorAll(".near").forEach((near, at) => { near.hidden = at !== right; });
    }
  };
  for (const select of sides) select.addEventListener("change", show);
  section.querySelector(".differ").addEventListener("change", (event) =>
    section.classList.toggle("difference", event.target.checked));
  for (const cut of section.querySelectorAll(".cut"))
    cut.addEventListener("input", () => cut.parentElement.style.setProperty("--cut", `${cut.value}%`));
  show();
  const frames = Number(section.dataset.frames || 0);
  if (frames < 2) continue;
  const columns = Number(section.dataset.columns), play = section.querySelector(".play");
  section.style.setProperty("--columns", columns);
  section.style.setProperty("--lines", Math.ceil(frames / columns));
  let frame = 0, timer = null;
  const step = () => {
    frame = (frame + 1) % frames;
    section.style.setProperty("--column", frame % columns);
    section.style.setProperty("--line", Math.floor(frame / columns));
  };
  const run = (on) => {
    clearInterval(timer);
    timer = on ? setInterval(step, Number(section.dataset.milliseconds)) : null;
    play.setAttribute("aria-pressed", String(on));
    play.textContent = on ? "pause" : "play";
  };
  play.addEventListener("click", () => run(timer === null));
  run(!matchMedia("(prefers-reduced-motion: reduce)").matches);
}
