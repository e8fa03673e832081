import { send, tenant } from "./webauthn.js";

const form = document.getElementById("confirm");
const status = document.getElementById("trying");

function trying(now) {
  form.hidden = now;
  status.hidden = !now;
}

// A page that the browser makes ahead of time must use nothing.
if (document.prerendering) {
  await new Promise((seen) => {
    document.addEventListener("prerenderingchange", seen, { once: true });
  });
}

trying(true);
try {
  const link = location.pathname.slice(`/${tenant}/`.length);
  const { next } = await send(`${link}/mine`, {});
  // The link's own address stays out of the history.
  if (next) location.replace(next);
  else trying(false);
} catch {
  // Whatever it was, the button tells it.
  trying(false);
}
