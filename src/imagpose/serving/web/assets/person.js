const im = window.imagpose;
const find = (selector) => element.querySelector(selector);
const list = find(".im-photos");
let photos = []; // { path, url, name, width, height, pose, note, person }

function save() {
  props.value = { photos: photos.map(({ path, pose }) => ({ path, pose })) };
  im.keep("person", photos);
  draw();
}

function say(text) { find(".im-message").textContent = text; }

function caption(photo) {
  if (photo.finding) return "finding the pose …";
  if (!photo.pose) return photo.note || "no pose";
  const count = im.fromOpenPose(photo.pose).points.filter((point) => point[2] > 0).length;
  return photo.note ? `${count} of 18 joints; ${photo.note}` : `${count} of 18 joints`;
}

function card(photo, index) {
  const name = photo.name;
  const image = im.node("img", { src: photo.url, alt: `Photo ${index + 1}: ${name}` });
  const picture = im.node("div", { class: "im-picture" }, [image]);
  if (photo.pose) picture.append(im.skeleton(im.fromOpenPose(photo.pose), `Pose found in ${name}`, 0.012));
  const use = im.node("button", {
    type: "button", class: "im-small", text: "Use pose", "aria-label": `Use pose of ${name} as a target pose`, disabled: !photo.pose,
    onclick: () => im.tell("pose", photo.pose),
  });
  const remove = im.node("button", {
    type: "button", class: "im-remove", text: "×", "aria-label": `Remove ${name}`,
    onclick: () => { photos = photos.filter((other) => other !== photo); save(); },
  });
  return im.node("li", { class: "im-photo" }, [
    picture, remove, im.node("div", { class: "im-photo-foot" }, [im.node("span", { text: caption(photo) }), use]),
  ]);
}

function draw() {
  list.replaceChildren(...photos.map(card));
  const person = photos.length && photos.every((photo) => photo.person === photos[0].person) ? photos[0].person : null;
  for (const button of find(".im-people").children) {
    button.setAttribute("aria-pressed", String(Boolean(person) && button.dataset.person === person));
  }
  const chosen = props.people.find((own) => own.name === person);
  const others = chosen ? chosen.views.filter((view) => !photos.some((photo) => photo.path === view.path)) : [];
  find(".im-views").replaceChildren(...others.map((view) => im.node("button", {
    type: "button", class: "im-chip", text: `+ ${view.name}`, "aria-label": `+ ${view.name}: add it to the photos`,
    onclick: () => { photos.push(shipped(chosen, view)); save(); },
  })));
}

function shipped(person, view) {
  return {
    path: view.path, url: im.fileURL(view.path), name: `${view.name} of a rendered person`, pose: view.pose, note: "", person: person.name,
    width: view.pose.canvas_width, height: view.pose.canvas_height,
  };
}

async function add(files) {
  say("");
  if (photos.some((photo) => photo.person)) photos = []; // a photo of one's own takes the rendered person's place
  for (const file of files) {
    if (photos.length >= props.limit) { say(`At most ${props.limit} photos.`); break; }
    const photo = { name: file.name, url: URL.createObjectURL(file), pose: null, note: "", finding: true, person: null };
    photos.push(photo);
    draw();
    try {
      const { path } = await upload(file);
      const told = await server.detect([path]);
      if (told.error) throw new Error(told.error);
      Object.assign(photo, { path, url: im.fileURL(path), finding: false, ...told.value });
      say(photo.note ? `${file.name}: ${photo.note}` : "");
    } catch (error) {
      photos = photos.filter((other) => other !== photo);
      const told = error.message || String(error);
      say(told.startsWith(file.name) ? told : `${file.name}: ${told}`);
    }
    save();
  }
}

find(".im-people").replaceChildren(...props.people.map((person, index) => im.node("button", {
  type: "button", "data-person": person.name, "aria-pressed": "false", "aria-label": `Rendered person ${index + 1}`,
  onclick: () => { say(""); photos = [shipped(person, person.views[0])]; save(); },
}, [im.node("img", { src: im.fileURL(person.views[0].path), alt: "", loading: "lazy" })])));

im.dropZone(find(".im-drop"), add);

(async () => { // after a reload: what the server still has
  const kept = (im.kept("person") || []).filter((photo) => photo.path);
  const there = await Promise.all(kept.map((photo) =>
    fetch(im.fileURL(photo.path), { method: "HEAD" }).then((answer) => answer.ok, () => false)));
  photos = [...kept.filter((_, index) => there[index]), ...photos];
  if (photos.length) save(); else draw();
})();
