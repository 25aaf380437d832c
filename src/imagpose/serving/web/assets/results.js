const im = window.imagpose;
const find = (selector) => element.querySelector(selector);
const generate = find(".im-generate"), cancel = find(".im-cancel"), bar = find(".im-bar"), message = find(".im-message");
let busy = false, unwanted = false;

function figure(source, caption, kind) {
  return im.node("figure", { class: kind }, [
    im.node("img", { src: source, alt: caption }), im.node("figcaption", { text: caption }),
  ]);
}

function finished(value) {
  find(".im-items").replaceChildren(...value.items.map((item, index) => im.node("article", { class: "im-item" }, [
    figure(item.picture.url, `Picture ${index + 1}`, "im-made"),
    im.node("div", { class: "im-beside" }, [figure(value.source.url, "Photo", ""), figure(item.skeleton.url, "Pose", "")]),
  ])));
  const zip = find(".im-zip");
  zip.href = value.zip.url;
  zip.download = "imagpose.zip";
  zip.hidden = false;
}

function previews(value) {
  const shown = (value.previews || []).map((source, index) => [source, index]).filter(([source]) => source);
  if (!shown.length) return;
  find(".im-items").replaceChildren(...shown.map(([source, index]) => im.node("article", { class: "im-item im-preview" }, [
    figure(source, `Preview ${index + 1}`, "im-made"),
  ])));
}

const TEXTS = {
  asked: () => "Asking …",
  waiting: (value) => (value.place ? `Waiting: ${value.place} before you` : "Starting …"),
  running: (value) => (value.step ? (value.step < value.steps ? `Step ${value.step} of ${value.steps}` : "Looking at the pictures …") : "Loading the model …"),
  done: (value) => `${value.items.length} ${value.items.length === 1 ? "picture" : "pictures"} in ${value.seconds} s. ${value.note}`,
  cancelled: () => "Cancelled.",
  failed: (value) => value.message,
  busy: (value) => value.message,
};

function show(value) {
  if (!value || !value.state) return;
  if (unwanted && value.token) { unwanted = false; server.cancel([value.token]); }
  busy = ["asked", "waiting", "running"].includes(value.state);
  generate.disabled = busy;
  cancel.hidden = !busy;
  bar.hidden = !busy;
  const done = value.steps ? Math.round((100 * value.step) / value.steps) : 0;
  bar.setAttribute("aria-valuenow", done);
  bar.firstElementChild.style.width = `${done}%`;
  message.textContent = TEXTS[value.state](value);
  element.dataset.state = value.state;
  if (value.state === "done") finished(value);
  else if (busy) previews(value);
  else find(".im-items").querySelectorAll(".im-preview").forEach((item) => item.remove());
}

generate.addEventListener("click", () => {
  find(".im-items").replaceChildren();
  find(".im-zip").hidden = true;
  unwanted = false;
  show({ state: "asked" });
  trigger("generate");
});
cancel.addEventListener("click", () => {
  message.textContent = "Cancelling …";
  if (element.dataset.state === "asked") unwanted = true;
  else server.cancel([props.value.token]);
});
watch("value", () => show(props.value));
