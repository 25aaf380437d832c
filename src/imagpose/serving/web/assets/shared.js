// What the components share. A pose here: { width, height, points: 18 x [x, y, confidence] }, in pixels of its frame.
(() => {
  const im = window.imagpose;
  const NECK = im.names.indexOf("neck");

  im.parent = im.names.map(() => null);
  for (const [start, end] of im.limbs) im.parent[end] = start;
  im.label = (joint) => im.names[joint].replace("_", " ");

  // Joints that a joint carries along when it turns: itself and all that hang on it.
  im.below = (joint) => im.names.map((_, k) => k).filter((k) => {
    for (let at = k; at !== null; at = im.parent[at]) if (at === joint) return true;
    return false;
  });

  // The whole limb of a joint: what hangs on the neck's child that it hangs on. The neck's is the body.
  im.limbOf = (joint) => {
    let root = joint;
    while (im.parent[root] !== null && im.parent[root] !== NECK) root = im.parent[root];
    return im.below(root);
  };
  im.rootOf = (joint) => im.limbOf(joint).find((k) => im.parent[k] === NECK || im.parent[k] === null);

  im.fromOpenPose = (data) => {
    const flat = data.people[0].pose_keypoints_2d;
    const points = im.names.map((_, k) => flat.slice(3 * k, 3 * k + 3));
    return { width: data.canvas_width, height: data.canvas_height, points };
  };

  const round = (value) => Math.round(value * 100) / 100;
  im.toOpenPose = (pose) => {
    const found = ([x, y, c]) => (c > 0 ? [round(x), round(y), round(c)] : [0, 0, 0]);
    return {
      version: 1.3, canvas_width: pose.width, canvas_height: pose.height,
      people: [{ person_id: [-1], pose_keypoints_2d: pose.points.flatMap(found) }],
    };
  };

  im.fileURL = (path) =>
    `${window.gradio_config?.root ?? ""}/gradio_api/file=${path.split("/").map(encodeURIComponent).join("/")}`;

  im.node = (name, attributes = {}, children = []) => {
    const isDrawing = /^(svg|g|line|circle|rect|path|image)$/.test(name);
    const made = isDrawing ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "text") made.textContent = value;
      else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  };

  im.colour = (joint, strength = 1) => `rgb(${im.colours[joint].map((value) => Math.round(value * strength)).join(",")})`;

  // A drawing of a pose, as the skeletons are drawn that the model is given: limbs at 60 %, joints on top.
  im.skeleton = (pose, label, stroke = 0.018) => {
    const width = stroke * Math.max(pose.width, pose.height);
    const limbs = im.limbs.map(([a, b], k) => [pose.points[a], pose.points[b], k]).filter(([a, b]) => a[2] > 0 && b[2] > 0);
    const joints = pose.points.map((point, k) => [point, k]).filter(([point]) => point[2] > 0);
    const attributes = { viewBox: `0 0 ${pose.width} ${pose.height}`, ...(label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" }) };
    return im.node("svg", attributes, [
      ...limbs.map(([a, b, k]) => im.node("line", {
        x1: a[0], y1: a[1], x2: b[0], y2: b[1], stroke: im.colour(k, 0.6), "stroke-width": width, "stroke-linecap": "round",
      })),
      ...joints.map(([p, k]) => im.node("circle", { cx: p[0], cy: p[1], r: width * 0.6, fill: im.colour(k) })),
    ]);
  };

  // Components tell each other what happens.
  im.tell = (name, detail) => document.dispatchEvent(new CustomEvent(`imagpose:${name}`, { detail }));
  im.hear = (name, take) => document.addEventListener(`imagpose:${name}`, (event) => take(event.detail));

  im.keep = (name, value) => {
    try { sessionStorage.setItem(`imagpose-${name}`, JSON.stringify(value)); } catch { /* private windows have none */ }
  };
  im.kept = (name) => {
    try { return JSON.parse(sessionStorage.getItem(`imagpose-${name}`)); } catch { return null; }
  };

  im.count = (number, thing) => `${number} ${thing}${number === 1 ? "" : "s"}`;

  // A group of radio buttons whose values are in `data-<name>`; gives the function that chooses one, and tells `take`.
  im.radios = (group, name, take) => {
    const buttons = [...group.children];
    const choose = (value) => {
      for (const button of buttons) {
        const isChosen = button.dataset[name] === value;
        button.setAttribute("aria-checked", isChosen);
        button.tabIndex = isChosen ? 0 : -1;
      }
      take(value);
    };
    group.addEventListener("click", (event) => { if (event.target.dataset[name]) choose(event.target.dataset[name]); });
    group.addEventListener("keydown", (event) => {
      const turn = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!turn) return;
      event.preventDefault();
      const chosen = buttons.findIndex((button) => button.getAttribute("aria-checked") === "true");
      const next = buttons[(chosen + turn + buttons.length) % buttons.length];
      choose(next.dataset[name]);
      next.focus();
    });
    return choose;
  };

  // A group of many buttons is one stop of Tab, at the button last used: arrow keys, Home and End go from one to another.
  im.oneStop = (group) => {
    group.addEventListener("focusin", (event) => {
      for (const button of group.querySelectorAll("button")) button.tabIndex = button === event.target ? 0 : -1;
    });
    group.addEventListener("keydown", (event) => {
      const buttons = [...group.querySelectorAll("button")], at = buttons.indexOf(event.target);
      const top = (button) => Math.round(button.getBoundingClientRect().top);
      const across = buttons.filter((button) => top(button) === top(buttons[0])).length;
      const turn = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across, Home: -at, End: buttons.length - 1 - at }[event.key];
      if (turn === undefined) return;
      event.preventDefault();
      buttons[at + turn]?.focus();
    });
  };

  // Files that are dropped on an element, or chosen in its file field, go to `take`.
  im.dropZone = (zone, take) => {
    const input = zone.querySelector("input[type=file]");
    input.addEventListener("change", () => { take([...input.files]); input.value = ""; });
    for (const kind of ["dragenter", "dragover"]) {
      zone.addEventListener(kind, (event) => { event.preventDefault(); zone.classList.add("im-over"); });
    }
    for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.remove("im-over"));
    zone.addEventListener("drop", (event) => { event.preventDefault(); take([...event.dataTransfer.files]); });
  };
})();
