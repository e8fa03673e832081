import { isGone } from "./signals.js";
import { able, create, during, send, stepUp, tell } from "./webauthn.js";

// Not where it may be kept all the same: by a request before this one, or by whose answer was lost.
const REFUSED = [400, 403];

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

// The authenticator holds the passkey already. Where the server says no to it, it is good nowhere.
async function keep(options, made) {
  try {
    return await send("passkey/new", made);
  } catch (error) {
    if (REFUSED.includes(error.status)) isGone(options.rp.id, JSON.parse(made.credential).id);
    throw error;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  during(button, async () => {
    const { ceremony_id, options } = await begin();
    const credential = await create(options);
    const name = document.getElementById("name").value;
    const { next, prove } = await keep(options, { ceremony_id, credential, name });
    // Whoever came by a link goes on with the passkey at once; the next page asks whoever does not.
    if (prove) await stepUp().catch(() => {});
    location.assign(next);
  });
});

if (!able()) {
  button.disabled = true;
  tell(new Error("This browser can't make passkeys. Use a newer one, or another device."));
}
