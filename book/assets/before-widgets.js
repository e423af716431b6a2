// Runs before every other script.
// The widget manager looks for its fonts where it would find them on a CDN: point it beside itself.
window.__jupyter_widgets_assets_path__ = new URL(
  "vendor/html-manager/", document.currentScript.src).href;
// The theme's icon library rewrites <i> elements as they appear, the Play widget's among them, and
// linked widgets then stop following one another.
// It may also come late, when they are there already: then it puts its icon into the <i> and leaves
// that where it is.
window.FontAwesomeConfig = { observeMutations: false, autoReplaceSvg: "nest" };
