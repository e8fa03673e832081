-- name: find_policy
-- What decides sign-ins of a tenant, without the roots, which are long.
SELECT links, passkey_aaguids, passkey_attestation, session_idle_minutes, session_max_minutes
FROM authn.sign_in_policy WHERE tenant_id = $1;

-- name: find_version
-- The whole policy.
SELECT
  revision, links, passkey_aaguids, passkey_attestation, passkey_attestation_roots,
  session_idle_minutes, session_max_minutes
FROM authn.sign_in_policy WHERE tenant_id = $1;

-- name: save_policy
-- Replace the version $2 - 1 by the version $2; nothing when another one came between.
INSERT INTO authn.sign_in_policy AS p (
  tenant_id, revision, links, passkey_aaguids, passkey_attestation, passkey_attestation_roots,
  session_idle_minutes, session_max_minutes, updated_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT ON CONSTRAINT sign_in_policy_pkey DO UPDATE SET
  revision = EXCLUDED.revision,
  links = EXCLUDED.links,
  passkey_aaguids = EXCLUDED.passkey_aaguids,
  passkey_attestation = EXCLUDED.passkey_attestation,
  passkey_attestation_roots = EXCLUDED.passkey_attestation_roots,
  session_idle_minutes = EXCLUDED.session_idle_minutes,
  session_max_minutes = EXCLUDED.session_max_minutes,
  updated_at = EXCLUDED.updated_at
WHERE p.revision = EXCLUDED.revision - 1
RETURNING p.revision;

-- name: count_users_without_passkey
-- Active people who have no passkey that signs in.
SELECT count(*) FROM directory.user_account AS u
WHERE u.tenant_id = $1 AND u.state = 'ACTIVE' AND NOT EXISTS (
  SELECT FROM authn.passkey AS p
  WHERE p.tenant_id = u.tenant_id AND p.user_id = u.user_id AND p.blocked_at IS NULL
);

-- name: count_passkeys_outside
-- Passkeys of active people whose model is not among $2 (empty: any), or never proved where $3.
SELECT count(*) FROM authn.passkey AS p
JOIN directory.user_account AS u ON u.tenant_id = p.tenant_id AND u.user_id = p.user_id
WHERE p.tenant_id = $1 AND u.state = 'ACTIVE' AND p.blocked_at IS NULL AND (
  (cardinality($2::uuid[]) > 0 AND p.aaguid <> ALL ($2::uuid[])) OR ($3::boolean AND NOT p.attested)
);
