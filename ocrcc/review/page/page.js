"use strict";
// Texts are data: they get into the page only as textContent and value.

const at = (id) => document.getElementById(id);
const field = at("field");
let question = null; // what is asked, as the server gave it
let step = 0; // how many decisions stood then
let mode = "empty"; // of the field: empty, where digits choose; typing; line, the whole line
let busy = false; // from an answer to what the server says to it

function setBusy(now) {
  busy = now;
  document.body.setAttribute("aria-busy", String(now));
}

async function call(path, body) {
  const options = body && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  let state;
  let problem = "";
  try {
    const response = await fetch(path, options);
    state = await response.json();
    problem = state.error || "";
  } catch {
    problem = "ocrcc review does not answer any more: start it again; what you decided before is kept";
  }
  return [state || {}, problem];
}

async function send(path, body) {
  if (busy) return;
  setBusy(true);
  const [state, problem] = await call(path, body);
  setBusy(false);
  if (state.progress) show(state);
  else field.focus();
  say(problem || (state.progress && state.progress.trouble) || "");
}

function ask() {
  return send("api/question?pair=" + encodeURIComponent(at("pair").value));
}

function answer(how, text) {
  if (how !== "undo" && !question) return;
  const place = question ? { line: question.line, position: question.position } : {};
  send("api/answer", { how, text, step, pair: at("pair").value, ...place });
}

function say(text) {
  at("message").textContent = text;
  at("message").hidden = !text;
}

function visible(text) {
  if (text === "") return "∅";
  if (text === " ") return "␣";
  return text.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}]/gu, (c) => "U+" + c.codePointAt(0).toString(16).toUpperCase());
}

function show(state) {
  question = state.question || null;
  step = state.progress.step;
  showProgress(state.progress);
  at("question").hidden = !question;
  at("nothing").hidden = Boolean(question);
  if (!question) return;
  setMode("empty");
  showText();
  showChoices();
  at("name").textContent = question.name + " · read with a confidence of " + (100 * question.sure).toFixed(1) + " %";
  for (const box of ["zoom", "line"]) {
    const image = at(box).querySelector("img");
    const source = "line/" + question.line + ".png";
    if (image.getAttribute("src") !== source) image.setAttribute("src", source);
  }
  place();
}

function showProgress({ done, total, left, seconds, labels, pairs, broken }) {
  const parts = [done + " of " + total + " decided", labels + (labels === 1 ? " line" : " lines") + " finished"];
  if (seconds !== null && left) parts.push("about " + duration(seconds) + " left");
  if (broken) parts.push(broken + " passed over, whose image cannot be shown");
  at("status").textContent = parts.join(" · ");
  at("bar").max = Math.max(total, 1);
  at("bar").value = done;
  const chosen = at("pair").value;
  const all = new Option("all characters", "");
  const options = pairs.map(({ pair, left }) => new Option(pair.split(" ").map(visible).join("  ") + "   (" + left + ")", pair));
  if (chosen && !pairs.some(({ pair }) => pair === chosen)) options.unshift(new Option(chosen + "   (0)", chosen));
  at("pair").replaceChildren(all, ...options);
  at("pair").value = chosen;
}

function duration(seconds) {
  return seconds < 90 ? seconds + " s" : seconds < 5400 ? Math.round(seconds / 60) + " min" : (seconds / 3600).toFixed(1) + " h";
}

function showText() {
  const now = question.position;
  const cells = question.cells.map((text, number) => {
    const cell = document.createElement("span");
    cell.textContent = text === "" ? (number === now ? "∅" : "") : number === now ? visible(text) : text;
    if (number === now) cell.className = "now";
    else if (question.open.includes(number)) cell.className = "open";
    return cell;
  });
  at("text").replaceChildren(...cells);
}

function choice(key, text, title, pick) {
  const button = document.createElement("button");
  const char = document.createElement("b");
  const hint = document.createElement("small");
  char.textContent = visible(text);
  hint.textContent = key;
  button.type = "button";
  button.tabIndex = -1;
  button.title = title;
  button.append(char, hint);
  button.addEventListener("click", pick);
  return button;
}

function showChoices() {
  const read = question.cells[question.position];
  const buttons = [choice("Enter", read, "right as it is", accept)];
  buttons[0].className = "read";
  question.choices.forEach((text, number) =>
    buttons.push(choice(String(number + 1), text, "a look-alike", () => answer("chosen", text))));
  if (question.same !== null)
    buttons.push(choice("Shift Enter", question.same, "same as the last one that looked the same", same));
  at("choices").replaceChildren(...buttons);
}

function accept() {
  answer("accepted", question.cells[question.position]);
}

function same() {
  if (question.same !== null) answer("same", question.same);
}

// Lay the images out: the whole line, and its doubtful character enlarged in the middle of its neighbours.
function place() {
  if (!question) return;
  const [width, height] = question.size;
  const known = question.place !== null;
  const [start, end] = question.place || [0, 1];
  const zoom = at("zoom");
  const scale = known ? zoom.clientHeight / height : Math.min(zoom.clientHeight / height, zoom.clientWidth / width);
  const across = width * scale;
  const shift = zoom.clientWidth / 2 - across * (start + end) / 2;
  const image = zoom.querySelector("img");
  image.style.width = across + "px";
  image.style.left = shift + "px";
  const pad = 4;
  frame(zoom.querySelector("i"), known, shift + across * start - pad, across * (end - start) + 2 * pad);
  const shown = at("line").querySelector("img");
  frame(at("line").querySelector("i"), known && shown.width > 0,
    shown.offsetLeft + shown.width * start - 3, shown.width * (end - start) + 6);
}

function frame(box, known, left, width) {
  box.hidden = !known;
  box.style.left = left + "px";
  box.style.width = width + "px";
}

function setMode(wanted) {
  mode = wanted;
  field.value = "";
  field.classList.toggle("line", mode === "line");
  field.placeholder = mode === "typing" ? "digits too" : "type what it is";
  if (mode === "line") {
    field.value = question.cells.join("");
    const start = question.cells.slice(0, question.position).join("").length;
    field.focus();
    field.setSelectionRange(start, start + question.cells[question.position].length);
  }
  field.focus();
}

function enter(event) {
  if (event.shiftKey) same();
  else if (mode === "line") answer("line", field.value);
  else if (field.value !== "") answer("typed", field.value);
  else if (mode === "empty") accept();
}

const KEYS = {
  Enter: enter,
  Escape: () => (mode === "empty" && field.value === "" ? answer("later") : setMode("empty")),
  F2: () => setMode("line"),
  F3: () => at("pair").focus(),
  F4: () => answer("left out"),
};

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.target === at("pair") || event.target === at("finish")) return;
  if (busy) {
    // It was meant for the question that goes, and half of what is typed would stay for the one that comes.
    event.preventDefault();
    return;
  }
  const untouched = mode === "empty" && field.value === "";
  let act = KEYS[event.key];
  if (event.ctrlKey || event.metaKey || event.altKey)
    act = event.key.toLowerCase() === "z" && untouched ? () => answer("undo") : null;
  else if (untouched && event.key === "Delete") act = () => answer("chosen", "");
  else if (untouched && event.key === " ") act = () => setMode("typing");
  else if (untouched && /^[1-9]$/.test(event.key))
    act = () => question.choices.length >= event.key && answer("chosen", question.choices[event.key - 1]);
  if (act) {
    event.preventDefault();
    // A key that is held down decides nothing that has not been looked at.
    if (!event.repeat && (question || event.key.toLowerCase() === "z" || event.key === "F3")) act(event);
  } else if (question && document.activeElement !== field) {
    field.focus();
  }
});

at("pair").addEventListener("change", ask);
at("finish").addEventListener("click", async () => {
  const [, problem] = await call("api/finish", {});
  question = null;
  at("question").hidden = true;
  at("nothing").hidden = false;
  say(problem);
});
at("line").querySelector("img").addEventListener("load", place);
addEventListener("resize", place);
ask();
