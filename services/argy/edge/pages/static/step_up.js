import { during, stepUp } from "./webauthn.js";

const button = document.getElementById("confirm");

button.addEventListener("click", () =>
  during(button, async () => {
    await stepUp();
    document.getElementById("again").submit();
  }),
);
