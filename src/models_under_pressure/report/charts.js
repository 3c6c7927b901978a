// Draws every chart of the page with the Vega that the page carries; failures are shown, never swallowed.
for (const target of document.querySelectorAll(".chart")) {
  const specification = JSON.parse(document.getElementById(target.dataset.chart).textContent);
  vegaEmbed(target, specification, { renderer: "svg", actions: false }).then(
    () => target.setAttribute("data-drawn", "yes"),
    (error) => { target.textContent = "This chart could not be drawn: " + error; throw error; },
  );
}
