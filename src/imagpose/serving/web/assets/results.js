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

function show(value) {
  zip.hidden = value.state !== "done";
  if (value.state === "done") {
    items.replaceChildren(...value.items.map((item, index) => im.node("article", { class: "im-item" }, [
      made(item, index),
      im.node("div", { class: "im-beside" }, [figure(value.source.url, "Photo", ""), figure(item.skeleton.url, "Pose", "")]),
    ])));
    zip.href = value.zip.url;
    zip.download = "imagpose.zip";
  } else if (value.state === "running" && value.previews?.some(Boolean)) {
    const shown = value.previews.map((source, index) => [source, index]).filter(([source]) => source);
    items.replaceChildren(...shown.map(([source, index]) => im.node("article", { class: "im-item im-preview" }, [
      figure(source, `Preview ${index + 1}`, "im-made"),
    ])));
  } else if (value.state !== "running") items.replaceChildren();
}

im.hear("state", show);
watch("value", () => { if (props.value?.state) im.tell("state", props.value); });
