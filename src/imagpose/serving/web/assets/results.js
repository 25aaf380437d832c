const im = window.imagpose;
const items = element.querySelector(".im-items"), zip = element.querySelector(".im-zip");

function figure(source, caption, kind) {
  return im.node("figure", { class: kind }, [
    im.node("img", { src: source, alt: caption }), im.node("figcaption", { text: caption }),
  ]);
}

function made(item, index) {
  const { pose, likeness } = item.scores;
  const scores = [pose === null ? null : `pose ${pose.toFixed(2)}`, `likeness ${likeness.toFixed(2)}`].filter(Boolean);
  const picture = figure(item.picture.url, `Picture ${index + 1}`, "im-made");
  picture.lastChild.append(im.node("span", { text: scores.join(", "), title: "Scores of our judges, from 0 to 1: they know rendered people" }));
  return picture;
}

function filmed({ film, frames, fps, source, skeletons }) {
  const name = film.orig_name, label = `Film: ${frames} frames, ${(frames / fps).toFixed(1)} s`;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const shown = name.endsWith(".gif")
    ? im.node("img", { src: film.url, alt: label })
    : im.node("video", { src: film.url, "aria-label": label, controls: "", loop: "", playsinline: "", preload: "auto" });
  if (shown.localName === "video") Object.assign(shown, { muted: true, autoplay: !still }); // only what is muted starts alone
  const caption = im.node("figcaption", { text: label });
  const link = im.node("a", { class: "im-zip", href: film.url, download: name, text: `Download ${name.split(".").pop().toUpperCase()}` });
  return im.node("article", { class: "im-item" }, [
    im.node("figure", { class: "im-made" }, [shown, caption, link]),
    im.node("div", { class: "im-beside" }, [
      figure(source.url, "Photo", ""), ...skeletons.map(({ url }, index) => figure(url, index ? "Last pose" : "First pose", "")),
    ]),
  ]);
}

function show(value) {
  zip.hidden = value.state !== "done";
  if (value.state === "done" && value.film) items.replaceChildren(filmed(value));
  else if (value.state === "done") {
    items.replaceChildren(...value.items.map((item, index) => im.node("article", { class: "im-item" }, [
      made(item, index),
      im.node("div", { class: "im-beside" }, [figure(value.source.url, "Photo", ""), figure(item.skeleton.url, "Pose", "")]),
    ])));
  } else if (value.state === "running" && value.previews?.some(Boolean)) {
    const shown = value.previews.map((source, index) => [source, index]).filter(([source]) => source);
    items.replaceChildren(...shown.map(([source, index]) => im.node("article", { class: "im-item im-preview" }, [
      figure(source, value.frames === undefined ? `Preview ${index + 1}` : `Frame ${value.frames}`, "im-made"),
    ])));
  } else if (value.state !== "running") items.replaceChildren();
  if (value.state === "done") Object.assign(zip, { href: value.zip.url, download: "imagpose.zip" });
}

im.hear("state", show);
watch("value", () => { if (props.value?.state) im.tell("state", props.value); });
