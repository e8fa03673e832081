import { able, assert, during, prove, send, tell } from "./webauthn.js";

// A ceremony is minutes long; the one that waits behind the field is begun anew before it ends.
const FRESH_MS = 3 * 60 * 1000;
const button = document.getElementById("passkey");
const field = document.getElementById("email");
let waiting = null;

async function begin() {
  const begun = await send("passkey/sign-in/options", {});
  if (!begun.links) withoutLinks();
  return begun;
}

async function signIn(extra) {
  const { ceremony_id, options } = await begin();
  if (extra.signal?.aborted) return;
  const credential = await assert(options, extra);
  const { after } = button.dataset;
  const { next } = await prove("passkey/sign-in", options, credential, { ceremony_id, after });
  location.assign(next);
}

// The field stays: it is where the browser offers passkeys.
function withoutLinks() {
  const hint = document.getElementById("email-hint");
  hint.textContent = hint.dataset.withoutLinks;
  document.getElementById("send-link").hidden = true;
}

// Conditional mediation: the browser offers passkeys where the address is typed.
function offer() {
  const abort = new AbortController();
  const done = signIn({ mediation: "conditional", signal: abort.signal }).catch((error) => {
    if (abort.signal.aborted) return;
    // Whoever put the browser's own question away knows; what stands here they may still need.
    if (error.name !== "NotAllowedError") tell(error);
    // Not at once: what failed would fail again, without anybody asking for it.
    field.addEventListener("focus", again, { once: true });
  });
  const timer = setTimeout(again, FRESH_MS);
  waiting = { abort, done, timer };
}

async function again() {
  await withdraw();
  offer();
}

async function withdraw() {
  if (!waiting) return;
  const { abort, done, timer } = waiting;
  waiting = null;
  field.removeEventListener("focus", again);
  clearTimeout(timer);
  abort.abort();
  await done;
}

async function start() {
  if (!able()) return;
  button.hidden = false;
  const autofill = await PublicKeyCredential.isConditionalMediationAvailable?.();
  button.addEventListener("click", () =>
    during(button, async () => {
      await withdraw();
      try {
        await signIn({});
      } catch (error) {
        if (autofill) offer();
        throw error;
      }
    }),
  );
  if (autofill) offer();
  else await begin().catch(tell); // for what it says of links
}

start();
