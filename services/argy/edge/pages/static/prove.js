import { during, stepUp } from "./webauthn.js";

const button = document.getElementById("prove");

button.addEventListener("click", () =>
  during(button, async () => {
    await stepUp();
    // The page that was asked for stands here now.
    location.reload();
  }),
);
