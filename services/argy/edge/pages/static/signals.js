// Tells passkey managers what has become of passkeys, in browsers that can (WebAuthn Level 3
// §5.1.10). Nothing here may fail: it is a favour to whoever chooses among passkeys next time.

const quietly = (told) => told?.catch(() => {});

// This one is good nowhere. Only for what the server knows that of: several organizations share one
// relying party, and a manager may forget the passkey for good.
export const isGone = (rpId, credentialId) =>
  quietly(window.PublicKeyCredential?.signalUnknownCredential?.({ rpId, credentialId }));

// These are all that somebody has, and this is what they are called.
export function areAll({ rpId, userId, accepted, name, displayName }) {
  const known = { rpId, userId };
  const allAcceptedCredentialIds = accepted.split(" ").filter(Boolean);
  const api = window.PublicKeyCredential;
  quietly(api?.signalAllAcceptedCredentials?.({ ...known, allAcceptedCredentialIds }));
  quietly(api?.signalCurrentUserDetails?.({ ...known, name, displayName }));
}
