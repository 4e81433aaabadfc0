// A second button beside each chart's camera: Plotly's own takes the picture as SVG, this one as PNG.
//
// Plotly's buttons know one format, and a button of one's own needs a function, which no setting that comes
// from a server can carry. So this page adds it: another format, then a click on Plotly's camera.
export default function secondCamera() {
  const CAMERA = '.modebar-btn[data-title="Download plot"]';
  const SVG = "http://www.w3.org/2000/svg";

  function icon() {
    const svg = document.createElementNS(SVG, "svg");
    const text = svg.appendChild(document.createElementNS(SVG, "text"));
    for (const [key, value] of Object.entries({viewBox: "0 0 34 20", height: "1em", width: "1.7em", class: "icon"})) {
      svg.setAttribute(key, value);
    }
    for (const [key, value] of Object.entries({x: 17, y: 16, "text-anchor": "middle", class: "png"})) {
      text.setAttribute(key, value);
    }
    text.textContent = "PNG";
    return svg;
  }

  // sliders and buttons of a chart that plays are for the screen: Plotly copies the layout as it is clicked
  function show(plot, visible) {
    for (const control of [...(plot.layout.sliders || []), ...(plot.layout.updatemenus || [])]) {
      control.visible = visible;
    }
  }

  function asPng(plot, camera) {
    const options = plot._context.toImageButtonOptions;
    plot._context.toImageButtonOptions = {...options, format: "png"};
    camera.click();
    plot._context.toImageButtonOptions = options;
  }

  function dress(camera) {
    const plot = camera.closest(".js-plotly-plot");
    const png = camera.cloneNode(false);
    png.append(icon());
    camera.dataset.title = "Download plot as SVG";
    png.dataset.title = "Download plot as PNG";
    for (const button of [camera, png]) button.setAttribute("aria-label", button.dataset.title);
    camera.addEventListener("click", () => show(plot, false), {capture: true});
    camera.addEventListener("click", () => show(plot, true));
    png.addEventListener("click", () => asPng(plot, camera));
    camera.after(png);
  }

  if (window.secondCamera) return; // called anew with each page
  window.secondCamera = new MutationObserver(() => document.querySelectorAll(CAMERA).forEach(dress));
  window.secondCamera.observe(document.body, {childList: true, subtree: true});
  document.querySelectorAll(CAMERA).forEach(dress);
}
