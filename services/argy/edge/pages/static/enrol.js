import { able, create, during, send, stepUp, tell } from "./webauthn.js";

const form = document.getElementById("enrol");
const button = document.getElementById("make");

async function begin() {
  try {
    return await send("passkey/new/options", {});
  } catch (error) {
    if (error.reason !== "STEP_UP_REQUIRED") throw error;
    await stepUp();
    return send("passkey/new/options", {});
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  during(button, async () => {
    const { ceremony_id, options } = await begin();
    const credential = await create(options);
    const name = document.getElementById("name").value;
    const { next, prove } = await send("passkey/new", { ceremony_id, credential, name });
    // Whoever came by a link goes on with the passkey at once; the next page asks whoever does not.
    if (prove) await stepUp().catch(() => {});
    location.assign(next);
  });
});

if (!able()) {
  button.disabled = true;
  tell(new Error("This browser can't make passkeys. Use a newer one, or another device."));
}
