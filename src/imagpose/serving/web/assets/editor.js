const im = window.imagpose;
const find = (selector) => element.querySelector(selector);
const stage = find(".im-stage"), strip = find(".im-strip"), select = find(".im-joint");
const REACH = 26; // pixels of the screen within which a joint is caught
const LIBRARY = props.library.map((own) => ({ ...own, pose: im.fromOpenPose(own.pose) }));
const STANDING = LIBRARY.find((own) => own.name === "stand-01").pose;
const copy = (value) => JSON.parse(JSON.stringify(value));

let poses = [], current = 0, joint = im.names.indexOf("right_wrist"), mode = "joint";
let undo = [], redo = [], lastKind = "", lastTime = 0;
let svg, dots = [], sticks = [], drag = null;

const pose = () => poses[current];
const snapshot = () => JSON.stringify({ poses, current });
const say = (text) => { find(".im-message").textContent = text; };

// ---- history

// Do something that can be undone; changes of one kind in quick succession are undone together.
function change(work, kind = "") {
  const before = snapshot();
  work();
  if (snapshot() === before) return;
  const joins = kind && kind === lastKind && performance.now() - lastTime < 700;
  if (!joins) undo.push(before);
  if (undo.length > 200) undo.shift();
  [lastKind, lastTime, redo] = [kind, performance.now(), []];
  say("");
  save();
}

function travel(from, to) {
  if (!from.length) return;
  to.push(snapshot());
  ({ poses, current } = JSON.parse(from.pop()));
  lastKind = "";
  save();
}

function save() {
  props.value = { poses: poses.map(im.toOpenPose) };
  im.keep("poses", { poses, current });
  im.poses = poses.length;
  im.tell("poses");
  draw();
}

// ---- geometry

function moved(joints, dx, dy, points = pose().points) {
  for (const k of joints) points[k] = [points[k][0] + dx, points[k][1] + dy, points[k][2]];
}

function turned(k, angle, points = pose().points) {
  const centre = points[im.parent[k] ?? k];
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  for (const other of im.below(k)) {
    const [x, y] = [points[other][0] - centre[0], points[other][1] - centre[1]];
    points[other] = [centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos, points[other][2]];
  }
}

const everything = im.names.map((_, k) => k);
const carried = (k) => (mode === "body" || (mode === "limb" && im.parent[k] === null) ? everything : mode === "limb" ? im.limbOf(k) : [k]);

function scaled(factor) {
  const points = pose().points;
  const limb = mode === "limb" && im.parent[joint] !== null;
  const joints = limb ? im.limbOf(joint) : everything;
  const found = joints.map((k) => points[k]).filter((point) => point[2] > 0);
  if (!found.length) return;
  const middle = (axis) => (Math.min(...found.map((p) => p[axis])) + Math.max(...found.map((p) => p[axis]))) / 2;
  const centre = limb ? points[im.rootOf(joint)] : [middle(0), middle(1)];
  for (const k of joints) {
    points[k] = [centre[0] + (points[k][0] - centre[0]) * factor, centre[1] + (points[k][1] - centre[1]) * factor, points[k][2]];
  }
}

function mirror() {
  const { points, width } = pose();
  poses[current].points = im.mirrored.map((other) => {
    const [x, y, c] = points[other];
    return isPlaced(points[other]) ? [width - x, y, c] : [x, y, c];
  });
  joint = im.mirrored[joint];
}

// A joint that was never seen has no place: 0, 0.
const isPlaced = ([x, y, c]) => c > 0 || x !== 0 || y !== 0;

function switched(k) {
  const points = pose().points;
  const [x, y, c] = points[k];
  if (c > 0) points[k] = [x, y, 0];
  else if (isPlaced(points[k])) points[k] = [x, y, 1];
  else points[k] = [...likelyPlace(k), 1];
}

// Where a joint would be in a standing body, from the joint before it.
function likelyPlace(k) {
  const { points, width, height } = pose();
  const before = im.parent[k];
  if (before === null || !isPlaced(points[before])) return [width / 2, height / 2];
  const scale = height / STANDING.height;
  return [0, 1].map((axis) => points[before][axis] + (STANDING.points[k][axis] - STANDING.points[before][axis]) * scale);
}

// ---- the stage

function build() {
  const { width, height } = pose();
  const margin = 0.05 * Math.max(width, height);
  svg = im.node("svg", {
    viewBox: `${-margin} ${-margin} ${width + 2 * margin} ${height + 2 * margin}`, role: "group",
    "aria-label": "Skeleton. Arrow keys move the chosen joint, Page Up and Page Down choose another.",
  }, [im.node("rect", { class: "im-ground", x: 0, y: 0, width, height, rx: 2 })]);
  sticks = im.limbs.map(([, end], k) => im.node("line", { stroke: im.colour(k, 0.75), "stroke-linecap": "round", "data-end": end }));
  dots = im.names.map((name, k) => im.node("circle", { fill: im.colour(k), role: "button", "data-joint": name, onfocus: () => choose(k) }));
  svg.append(...sticks, ...dots);
  svg.dataset.frame = `${width}x${height}`;
  svg.addEventListener("pointerdown", down);
  svg.addEventListener("pointermove", move);
  for (const kind of ["pointerup", "pointercancel"]) svg.addEventListener(kind, up);
  svg.addEventListener("touchstart", (event) => { // a touch beside the joints scrolls the page
    const touch = event.touches[0];
    if (mode === "body" || nearest(touch) !== null) event.preventDefault();
  }, { passive: false });
  svg.addEventListener("keydown", keys);
  stage.replaceChildren(svg);
}

function place(event) {
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  return [point.x, point.y];
}

const perPixel = () => 1 / (svg.getScreenCTM()?.a || 1);

function nearest(event) {
  const [x, y] = place(event);
  let best = null, least = REACH * perPixel();
  pose().points.forEach((point, k) => {
    if (!isPlaced(point)) return;
    // the joint chosen before wins among near ones, so that it can be drawn out of a crowd
    const distance = Math.hypot(point[0] - x, point[1] - y) * (k === joint ? 0.6 : 1);
    if (distance < least) [best, least] = [k, distance];
  });
  return best;
}

function down(event) {
  if (event.button > 0 || drag) return;
  const caught = nearest(event);
  if (caught === null && mode !== "body") return;
  event.preventDefault();
  svg.setPointerCapture(event.pointerId);
  if (caught !== null) { choose(caught); dots[caught].focus({ preventScroll: true }); }
  drag = { id: event.pointerId, start: place(event), points: copy(pose().points), before: snapshot(), k: caught ?? joint };
}

function move(event) {
  if (!drag || event.pointerId !== drag.id) return;
  const [x, y] = place(event), points = copy(drag.points);
  if (mode === "turn" && im.parent[drag.k] !== null) {
    const centre = points[im.parent[drag.k]];
    turned(drag.k, Math.atan2(y - centre[1], x - centre[0]) - Math.atan2(drag.start[1] - centre[1], drag.start[0] - centre[0]), points);
  } else {
    moved(mode === "turn" ? everything : carried(drag.k), x - drag.start[0], y - drag.start[1], points);
  }
  pose().points = points;
  drawStage();
}

function up(event) {
  if (!drag || event.pointerId !== drag.id) return;
  const { before } = drag;
  drag = null;
  const after = snapshot();
  if (after === before) return;
  ({ poses, current } = JSON.parse(before));
  change(() => { ({ poses, current } = JSON.parse(after)); });
}

function keys(event) {
  const step = event.shiftKey ? 10 : 1;
  const arrows = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  const control = event.ctrlKey || event.metaKey;
  if (control && event.key.toLowerCase() === "z") (event.shiftKey ? travel(redo, undo) : travel(undo, redo));
  else if (control && event.key.toLowerCase() === "y") travel(redo, undo);
  else if (control || event.altKey) return;
  else if (event.key in arrows) {
    const [dx, dy] = arrows[event.key];
    change(() => (mode === "turn" && im.parent[joint] !== null ? turned(joint, (dx + dy) * Math.PI / 180) : moved(carried(joint), dx, dy)), `move ${joint}`);
  } else if (event.key === "Delete" || event.key === "Backspace") change(() => switched(joint));
  else if (event.key === "+" || event.key === "=") change(() => scaled(1.04), "scale");
  else if (event.key === "-") change(() => scaled(1 / 1.04), "scale");
  else if (event.key === "PageDown" || event.key === "PageUp") {
    choose((joint + (event.key === "PageDown" ? 1 : dots.length - 1)) % dots.length);
    dots[joint].focus({ preventScroll: true });
  } else return;
  event.preventDefault();
  dots[joint].focus({ preventScroll: true });
}

function choose(k) {
  joint = k;
  drawStage();
}

function drawStage() {
  const { points, width, height } = pose();
  if (!svg || svg.dataset.frame !== `${width}x${height}`) build();
  const unit = perPixel();
  im.limbs.forEach(([a, b], k) => {
    const shown = points[a][2] > 0 && points[b][2] > 0;
    sticks[k].setAttribute("visibility", shown ? "visible" : "hidden");
    sticks[k].setAttribute("stroke-width", 5 * unit);
    [["x1", a, 0], ["y1", a, 1], ["x2", b, 0], ["y2", b, 1]].forEach(([name, end, axis]) => sticks[k].setAttribute(name, points[end][axis]));
  });
  const together = new Set(mode === "joint" ? [joint] : mode === "turn" ? im.below(joint) : carried(joint));
  dots.forEach((dot, k) => {
    const [x, y, c] = points[k];
    dot.setAttribute("cx", x);
    dot.setAttribute("cy", y);
    dot.setAttribute("r", (k === joint ? 8 : k >= 14 ? 4.5 : 6) * unit);
    dot.setAttribute("stroke-width", (k === joint ? 2.5 : 1.5) * unit);
    dot.setAttribute("class", [c > 0 ? "" : "im-gone", k === joint ? "im-chosen" : together.has(k) ? "im-together" : ""].join(" ").trim());
    dot.setAttribute("visibility", isPlaced(points[k]) ? "visible" : "hidden");
    dot.setAttribute("tabindex", k === joint ? 0 : -1);
    dot.setAttribute("aria-pressed", k === joint);
    dot.setAttribute("aria-label", `${im.label(k)}, ${c > 0 ? `${Math.round(x)} across, ${Math.round(y)} down` : "switched off"}`);
  });
  select.value = joint;
  const isOff = points[joint][2] === 0;
  find(".im-off").setAttribute("aria-pressed", isOff);
  find(".im-off").textContent = isOff ? "Switch on" : "Switch off";
}

// ---- the strip

function draw() {
  drawStage();
  strip.replaceChildren(...poses.map((own, index) => im.node("li", {}, [im.node("button", {
    type: "button", tabindex: index === current ? 0 : -1, "aria-current": index === current ? "true" : null, "aria-label": `Target pose ${index + 1}`,
    onclick: () => { current = index; save(); strip.children[index].firstChild.focus(); },
  }, [im.skeleton(own, null, 0.022), im.node("span", { text: index + 1 })])])));
  const last = poses.length - 1, isFull = poses.length >= props.limit;
  const disabled = { ".im-undo": !undo.length, ".im-redo": !redo.length, ".im-earlier": !current, ".im-later": current === last,
    ".im-delete": !last, ".im-duplicate": isFull };
  for (const [name, value] of Object.entries(disabled)) find(name).disabled = value;
  dimLibrary();
}

// Add target poses as far as there is room; gives what there is to say.
function add(added) {
  const room = props.limit - poses.length;
  if (room > 0) change(() => { poses.push(...copy(added.slice(0, room))); current = poses.length - 1; });
  return added.length > room ? `at most ${props.limit} target poses` : "";
}

function swap(other) {
  change(() => { [poses[current], poses[other]] = [poses[other], poses[current]]; current = other; });
}

async function read(files) {
  say("");
  for (const file of files) {
    say(`${file.name}: reading …`);
    try {
      const { path } = await upload(file);
      const told = await server.read([path, find(".im-frame input").value]);
      if (told.error) throw new Error(told.error);
      const { poses: found, notes } = told.value, full = add(found.map(im.fromOpenPose));
      say([`${file.name}: ${im.count(found.length, "pose")}`, ...notes, full].filter(Boolean).join("; "));
    } catch (error) {
      say(error.message || String(error));
      find(".im-frame").hidden = !/frame/.test(error.message || "");
      return;
    }
  }
}

// ---- controls

const setMode = im.radios(find(".im-modes"), "mode", (chosen) => {
  mode = chosen;
  stage.dataset.mode = mode;
  if (poses.length) drawStage();
});

select.replaceChildren(...im.names.map((_, k) => im.node("option", { value: k, text: im.label(k) })));
select.addEventListener("change", () => choose(Number(select.value)));
const actions = {
  ".im-undo": () => travel(undo, redo),
  ".im-redo": () => travel(redo, undo),
  ".im-off": () => change(() => switched(joint)),
  ".im-mirror": () => change(mirror),
  ".im-smaller": () => change(() => scaled(1 / 1.04), "scale"),
  ".im-larger": () => change(() => scaled(1.04), "scale"),
  ".im-duplicate": () => change(() => { poses.splice(current + 1, 0, copy(pose())); current += 1; }),
  ".im-earlier": () => swap(current - 1),
  ".im-later": () => swap(current + 1),
  ".im-delete": () => change(() => { poses.splice(current, 1); current = Math.min(current, poses.length - 1); }),
};
for (const [name, action] of Object.entries(actions)) find(name).addEventListener("click", action);

const kinds = [...new Set(LIBRARY.map((own) => own.name.split("-")[0]))];
find(".im-kind").replaceChildren(...["all", ...kinds].map((kind) => im.node("option", { value: kind, text: kind })));
find(".im-kind").addEventListener("change", drawLibrary);

function drawLibrary() {
  const kind = find(".im-kind").value;
  find(".im-library").replaceChildren(...LIBRARY.filter((own) => kind === "all" || own.name.startsWith(`${kind}-`)).map((own, place) => im.node("button", {
    type: "button", tabindex: place ? -1 : 0, "aria-label": `Add ${own.name}: ${own.text}`, title: `${own.name}: ${own.text}`,
    onclick: () => say(add([own.pose])),
  }, [im.skeleton(own.pose, null, 0.022)])));
  dimLibrary();
}

function dimLibrary() {
  const isFull = poses.length >= props.limit;
  for (const button of find(".im-library").children) button.setAttribute("aria-disabled", isFull); // `disabled` would take the focus away
}

im.oneStop(find(".im-library"));
im.oneStop(strip);
im.dropZone(find(".im-from .im-drop"), read);
im.hear("pose", (given) => say(add([im.fromOpenPose(given)])));
new ResizeObserver(() => { if (svg) drawStage(); }).observe(stage);

const kept = im.kept("poses");
if (kept?.poses?.length) ({ poses, current } = kept);
else poses = [copy(STANDING)];
drawLibrary();
setMode("joint");
draw();
setTimeout(save); // Gradio takes a value only from the end of this script on
