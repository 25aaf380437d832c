const im = window.imagpose;
const find = (selector) => element.querySelector(selector);
const generate = find(".im-generate"), cancel = find(".im-cancel"), bar = find(".im-bar"), message = find(".im-message");
let token = null, unwanted = false;

const TEXTS = {
  asked: () => "Asking …",
  waiting: (value) => (value.place ? `Waiting: ${value.place} before you` : "Starting …"),
  running: (value) => (!value.step ? "Loading the model …" : value.step < value.steps ? `Step ${value.step} of ${value.steps}` : "Looking at the pictures …"),
  done: (value) => `${value.items.length} ${value.items.length === 1 ? "picture" : "pictures"} in ${value.seconds} s. ${value.note}`,
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
