// Dark or light: what the system says, unless the switch in the header says otherwise.

const NEXT = { auto: "light", light: "dark", dark: "auto" };
const KEY = "outrigger-theme";

// Storage may be forbidden; then the choice lasts as long as the page.
let chosen = "auto";
try {
  chosen = localStorage.getItem(KEY) ?? "auto";
} catch {}
apply();

function apply() {
  if (!(chosen in NEXT)) chosen = "auto";
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  const button = document.getElementById("theme");
  if (button) button.lastElementChild.textContent = chosen;
}

function change() {
  chosen = NEXT[chosen];
  try {
    localStorage.setItem(KEY, chosen);
  } catch {}
  apply();
}

document.addEventListener("DOMContentLoaded", () => {
  document.getElementById("theme").addEventListener("click", change);
  apply();
});
