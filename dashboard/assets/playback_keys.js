// The play button and the slider of a path, for the keyboard and for screen readers.
//
// Plotly draws both for the mouse alone and has no setting for more. So this page names them, gives them a
// place in the order of the tabulator, and turns a key into the click or the touch of the rail it stands for.
export default function playbackKeys() {
  const BUTTON = ".updatemenu-button:not([tabindex])";
  const GRIP = ".slider-grip-rect:not([tabindex])";
  const INSET = 10; // pixels between an end of Plotly's rail and its first or last step
  const PAGE = 6; // steps a page key moves
  const SETTLED = 1000; // milliseconds after which Plotly has surely drawn what a key asked for

  function announce(node, role, label) {
    node.setAttribute("role", role);
    node.setAttribute("tabindex", "0");
    node.setAttribute("aria-label", label);
  }

  function handled(event) {
    event.preventDefault(); // neither the page scrolls nor a shortcut of the page is taken
    event.stopPropagation();
  }

  function dressButton(button) {
    announce(button, "button", "Play the path hour by hour");
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      handled(event);
      button.dispatchEvent(new MouseEvent("click", {bubbles: true}));
    });
  }

  function dressGrip(grip) {
    const slider = () => grip.closest(".js-plotly-plot")._fullLayout.sliders[0];
    const last = () => slider().steps.length - 1;
    let asked = {step: 0, at: -Infinity};

    // Plotly draws some moments later, and its slider goes back and forth when keys come faster than that
    const current = () => (performance.now() - asked.at < SETTLED ? asked.step : slider().active);

    function tell() {
      const now = current();
      grip.setAttribute("aria-valuemin", 0);
      grip.setAttribute("aria-valuemax", last());
      grip.setAttribute("aria-valuenow", now);
      grip.setAttribute("aria-valuetext", slider().steps[now].label);
    }

    function move(step) {
      const rail = grip.closest(".slider-group").querySelector(".slider-rail-touch-rect");
      const box = rail.getBoundingClientRect();
      const at = {
        bubbles: true,
        clientX: box.left + INSET + ((box.width - 2 * INSET) * step) / last(),
        clientY: box.top + box.height / 2,
      };
      rail.dispatchEvent(new MouseEvent("mousedown", at));
      rail.dispatchEvent(new MouseEvent("mouseup", at));
    }

    announce(grip, "slider", "Hour to which the path is drawn");
    tell();
    new MutationObserver(tell).observe(grip, {attributeFilter: ["transform"]});
    grip.addEventListener("keydown", (event) => {
      const now = current();
      const wanted = {
        ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1,
        PageDown: now - PAGE, PageUp: now + PAGE, Home: 0, End: last(),
      }[event.key];
      if (wanted === undefined) return;
      handled(event);
      asked = {step: Math.min(last(), Math.max(0, wanted)), at: performance.now()};
      move(asked.step);
      tell();
    });
  }

  function dress() {
    document.querySelectorAll(BUTTON).forEach(dressButton);
    document.querySelectorAll(GRIP).forEach(dressGrip);
  }

  if (window.playbackKeys) return; // called anew with each page
  window.playbackKeys = new MutationObserver(dress);
  window.playbackKeys.observe(document.body, {childList: true, subtree: true});
  dress();
}
