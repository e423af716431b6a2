// A live image: it asks the kernel for itself, and gets each one in a message.
function render({ model, el }) {
  const image = el.appendChild(document.createElement("img"));
  image.className = "paincore-live";
  image.style = "max-width: 100%; height: auto; background: white";
  let url = "";
  const describe = () => { image.alt = model.get("alt"); };
  const receive = (message, buffers) => {
    URL.revokeObjectURL(url);
    image.src = url = URL.createObjectURL(new Blob(buffers, { type: "image/png" }));
  };
  model.on("msg:custom", receive);
  model.on("change:alt", describe);
  describe();
  // Else JupyterLab takes the arrow keys of a drop-down list for its cells.
  const keep = ({ target }) => target.matches("select") &&
    target.setAttribute("data-lm-suppress-shortcuts", "true");
  const listen = () => el.isConnected ?
    el.closest(".paincore-explorer")?.addEventListener("focusin", keep) :
    requestAnimationFrame(listen);
  listen();
  model.send("show");
  return () => {
    model.off("msg:custom", receive);
    model.off("change:alt", describe);
    URL.revokeObjectURL(url);
  };
}
export default { render };
