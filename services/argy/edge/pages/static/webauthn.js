// What every page's script needs: calls to the edge, and WebAuthn's values to and from JSON
// (WebAuthn Level 3 §5.1.8 and §5.1.9, written out for browsers that don't have them).

import { isGone } from "./signals.js";

const meta = (name) => document.querySelector(`meta[name="${name}"]`);
export const tenant = meta("tenant").content;

export class Problem extends Error {
  constructor(status, told) {
    super(told.detail || "The server could not be reached.");
    this.status = status;
    this.reason = told.reason || "";
  }
}

export async function send(path, body) {
  let answer;
  try {
    answer = await fetch(`/${tenant}/${path}`, {
      method: "POST",
      credentials: "same-origin",
      redirect: "error",
      headers: { "content-type": "application/json", "x-csrf-token": meta("csrf-token").content },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Problem(0, {});
  }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(answer.status, told);
  return told;
}

const bytes = (text) => {
  const padded = text.replaceAll("-", "+").replaceAll("_", "/");
  return Uint8Array.from(atob(padded), (c) => c.charCodeAt(0)).buffer;
};

const text = (buffer) => {
  const binary = Array.from(new Uint8Array(buffer), (b) => String.fromCharCode(b)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
};

const described = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));

function credentialJson(credential) {
  const { response } = credential;
  const told = { clientDataJSON: text(response.clientDataJSON) };
  if (response.attestationObject) {
    told.attestationObject = text(response.attestationObject);
    told.transports = response.getTransports ? response.getTransports() : [];
  } else {
    told.authenticatorData = text(response.authenticatorData);
    told.signature = text(response.signature);
    if (response.userHandle) told.userHandle = text(response.userHandle);
  }
  return JSON.stringify({
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment || undefined,
    clientExtensionResults: credential.getClientExtensionResults(),
    response: told,
  });
}

export async function create(options) {
  const publicKey = {
    ...options,
    challenge: bytes(options.challenge),
    user: { ...options.user, id: bytes(options.user.id) },
    excludeCredentials: described(options.excludeCredentials),
  };
  return credentialJson(await navigator.credentials.create({ publicKey }));
}

export async function assert(options, extra = {}) {
  const publicKey = {
    ...options,
    challenge: bytes(options.challenge),
    allowCredentials: described(options.allowCredentials),
  };
  return credentialJson(await navigator.credentials.get({ publicKey, ...extra }));
}

// Sends an assertion; a passkey that the server knows to be good no more is forgotten here.
export async function prove(path, options, credential, more = {}) {
  try {
    return await send(path, { ...more, credential });
  } catch (error) {
    if (error.reason === "PASSKEY_REMOVED") isGone(options.rpId, JSON.parse(credential).id);
    throw error;
  }
}

// Proves again who is signed in. The session has a new secret then, and its forms a new token.
export async function stepUp() {
  const { ceremony_id, options } = await send("passkey/sign-in/options", {});
  const credential = await assert(options);
  const { csrf } = await prove("passkey/step-up", options, credential, { ceremony_id });
  meta("csrf-token").content = csrf;
  for (const field of document.querySelectorAll('input[name="csrf"]')) field.value = csrf;
}

export const able = () => Boolean(window.PublicKeyCredential && navigator.credentials);

const IN_WORDS = {
  NotAllowedError: "That was cancelled, or took too long. Try again.",
  InvalidStateError: "This authenticator holds a passkey of yours already.",
  NotSupportedError: "This browser or authenticator can't make such a passkey.",
  PASSKEY_UNKNOWN: "This passkey does not sign in here. Use another one, or a link by mail.",
  PASSKEY_REMOVED: "This passkey is no longer good here. Use another one, or a link by mail.",
  SecurityError: "Passkeys don't work at this address. Check that it is the right one.",
};

export function tell(error) {
  const place = document.getElementById("problem");
  place.textContent = IN_WORDS[error.reason] || IN_WORDS[error.name] || error.message;
  place.hidden = false;
}

export function untell() {
  document.getElementById("problem").hidden = true;
}

// Runs what a button stands for; meanwhile it can't be pressed again.
export async function during(button, work) {
  button.disabled = true;
  untell();
  try {
    await work();
  } catch (error) {
    tell(error);
  } finally {
    button.disabled = false;
  }
}
