// What both pages share: the data, and small helpers. A page that fails says so at its top.
window.addEventListener("error", (event) => {
  document.body.dataset.error = event.message;
  const note = document.createElement("div");
  note.className = "error";
  note.textContent = "This page could not be built: " + event.message;
  document.body.prepend(note);
});
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
// An element with a class, text or children.
function el(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const child of children) if (child !== null) node.append(child);
  return node;
}
const count = (n) => Number(n).toLocaleString("en-GB");
const plural = (n, one, many) => count(n) + " " + (Number(n) === 1 ? one : many || one + "s");
