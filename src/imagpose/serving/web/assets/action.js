const im = window.imagpose;
const find = (selector) => element.querySelector(selector);
const generate = find(".im-generate"), cancel = find(".im-cancel"), bar = find(".im-bar"), message = find(".im-message");
let token = null, unwanted = false;

// ---- what is asked for

const film = { kind: "pictures", from: "strip", between: 11, fps: { strip: 12, file: null }, format: props.formats[0], file: null, frame: "" };
let note = ""; // what is said of the sequence

function save() {
  const { kind, from, between, fps, format, file, frame } = film;
  props.value = { kind, from, between, fps: fps[from], format, path: file?.path ?? null, frame };
  im.keep("film", film);
  draw();
}

function draw() {
  const isFilm = film.kind === "film", isStrip = film.from === "strip";
  element.dataset.kind = film.kind;
  find(".im-film").hidden = !isFilm;
  find(".im-of-file").hidden = isStrip;
  find(".im-of-strip").hidden = !isStrip;
  find(".im-from-what").value = film.from;
  find(".im-between").value = film.between;
  find(".im-fps").value = film.fps[film.from] ?? "";
  find(".im-fps").placeholder = film.file?.fps ? String(Math.round(film.file.fps * 100) / 100) : "25";
  find(".im-format").value = film.format;
  find(".im-length").textContent = isFilm ? length() : "";
}

function length() {
  if (note) return note;
  const isStrip = film.from === "strip", fps = film.fps[film.from] ?? film.file?.fps ?? 25;
  if (!isStrip && !film.file) return `At most ${props.limit} frames.`;
  const poses = isStrip ? im.poses ?? 1 : film.file.frames;
  if (isStrip && poses < 2) return "One target pose makes no film: add another.";
  const what = isStrip ? im.count(poses, "pose") : film.file.name;
  if (!poses) return what;
  const frames = isStrip ? (poses - 1) * (film.between + 1) + 1 : poses;
  const most = frames > props.limit ? `; at most ${props.limit} frames are taken` : "";
  return `${what}: ${im.count(frames, "frame")}, ${(frames / fps).toFixed(1)} s${most}`;
}

async function take([file]) {
  if (!file) return;
  note = `${file.name}: reading …`;
  Object.assign(film, { file: null, frame: find(".im-frame input").value });
  save();
  try {
    const { path } = await upload(file);
    const told = await server.look([path, film.frame]);
    if (told.error) throw new Error(told.error);
    const { frames, fps, notes } = told.value;
    film.file = { path, name: file.name, frames, fps };
    note = notes.length ? `${length()}; ${notes.join("; ")}` : "";
  } catch (error) {
    note = error.message || String(error);
  }
  find(".im-frame").hidden = !film.frame && !/frame, height/.test(note);
  save();
}

function changed(selector, set) {
  find(selector).addEventListener("change", (event) => { note = ""; set(event.target.value.trim()); save(); });
}

const number = (text, other) => (text === "" || Number.isNaN(Number(text)) ? other : Number(text));
changed(".im-from-what", (value) => { film.from = value; });
changed(".im-between", (value) => { film.between = Math.max(0, Math.round(number(value, 11))); });
changed(".im-fps", (value) => { film.fps[film.from] = number(value, film.from === "strip" ? 12 : null); });
changed(".im-format", (value) => { film.format = value; });
find(".im-format").replaceChildren(...props.formats.map((format) => im.node("option", { value: format, text: format.toUpperCase() })));
const choose = im.radios(find(".im-kinds"), "kind", (kind) => { film.kind = kind; save(); });
im.dropZone(find(".im-of-file .im-drop"), take);
im.hear("poses", () => draw());

// ---- how far it is

const TEXTS = {
  asked: () => "Asking …",
  waiting: (value) => (value.place ? `Waiting: ${value.place} before you` : "Starting …"),
  running: (value) => {
    if (value.read && !value.step) return `Finding poses: ${im.count(value.read, "frame")}`;
    if (!value.step) return value.step === undefined ? "Loading the model …" : "Preparing …";
    const frames = value.frames === undefined ? "" : `, ${im.count(value.frames, "frame")} finished`;
    if (value.step < value.steps) return `Step ${value.step} of ${value.steps}${frames}`;
    return value.frames === undefined ? "Looking at the pictures …" : "Writing the film …";
  },
  done: (value) => `${value.film ? `A film of ${im.count(value.frames, "frame")}` : im.count(value.items.length, "picture")} in ${value.seconds} s. ${value.note}`,
  cancelled: () => "Cancelled.",
  failed: (value) => value.message,
  busy: (value) => value.message,
};

function show(value) {
  token = value.token || null;
  if (unwanted && token) { unwanted = false; server.cancel([token]); }
  const busy = ["asked", "waiting", "running"].includes(value.state);
  const hadFocus = document.activeElement === cancel;
  generate.disabled = busy;
  cancel.hidden = !busy;
  bar.hidden = !busy;
  if (hadFocus && !busy) generate.focus();
  const done = value.steps ? Math.round((100 * value.step) / value.steps) : 0;
  bar.setAttribute("aria-valuenow", done);
  bar.firstElementChild.style.width = `${done}%`;
  message.textContent = TEXTS[value.state](value);
  element.dataset.state = value.state;
}

generate.addEventListener("click", () => {
  unwanted = false;
  im.tell("state", { state: "asked" });
  trigger("generate");
});
cancel.addEventListener("click", () => {
  message.textContent = "Cancelling …";
  if (token) server.cancel([token]); else unwanted = true;
});
im.hear("state", show);

(async () => { // after a reload: what the server still has
  const kept = im.kept("film");
  if (kept) Object.assign(film, kept, props.formats.includes(kept.format) ? {} : { format: props.formats[0] });
  const { file } = film;
  if (file && !(await fetch(im.fileURL(file.path), { method: "HEAD" }).then((answer) => answer.ok, () => false))) film.file = null;
  setTimeout(() => choose(film.kind)); // Gradio takes a value only from the end of this script on
})();
