// Narrows the heat maps to those that hold a text or an id; without this script all of them are shown.
const maps = [...document.querySelectorAll("#tokens .map")].map((element) => ({
  element, text: element.textContent.normalize("NFC").toLowerCase(),
}));
const field = (name) => document.getElementById(`tokens-${name}`);
function narrow() {
  const sought = field("text").value.normalize("NFC").toLowerCase().trim();
  const dataset = field("dataset").value, choice = field("choice").value;
  let shown = 0;
  for (const { element, text } of maps) {
    const fits = text.includes(sought) && (!dataset || element.dataset.dataset === dataset)
      && (!choice || element.dataset.choices.split(" ").includes(choice));
    element.hidden = !fits;
    shown += fits;
  }
  field("count").textContent = `${shown} of ${maps.length} records`;
}
for (const name of ["text", "dataset", "choice"]) field(name).addEventListener("input", narrow);
document.getElementById("tokens-finder").hidden = false;
narrow();
