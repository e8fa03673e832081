-- name: insert_handle
-- Give a user the handle that authenticators know them by, once.
INSERT INTO authn.user_handle (tenant_id, user_id, handle)
VALUES ($1, $2, $3)
ON CONFLICT ON CONSTRAINT user_handle_pkey DO NOTHING;

-- name: find_handle
-- The handle of a user.
SELECT handle FROM authn.user_handle WHERE tenant_id = $1 AND user_id = $2;

-- name: is_handle
-- Whether somebody has this handle.
SELECT EXISTS (SELECT FROM authn.user_handle WHERE tenant_id = $1 AND handle = $2);

-- name: queue_up
-- A user's registrations, removals and uses of links come one after the other, until the end of the
-- transaction; authn.close_links takes the same lock.
SELECT pg_advisory_xact_lock(hashtextextended($1::uuid::text || $2::uuid::text, 0));

-- name: insert_passkey
-- Keep a new passkey.
INSERT INTO authn.passkey (
  tenant_id, id, user_id, name, credential_id, public_key, sign_count, aaguid, transports,
  backup_eligible, backed_up, created_at, attested
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- name: find_by_credential
-- The passkey of a credential id and its user's handle.
SELECT
  p.id, p.user_id, p.name, p.credential_id, p.public_key, p.sign_count, p.aaguid, p.transports,
  p.backup_eligible, p.backed_up, p.created_at, p.last_used_at, p.blocked_at, h.handle
FROM authn.passkey AS p
JOIN authn.user_handle AS h ON h.tenant_id = p.tenant_id AND h.user_id = p.user_id
WHERE p.tenant_id = $1 AND p.credential_id = $2;

-- name: lock_passkey
-- One passkey, for this transaction alone: its counter is compared and written.
SELECT
  id, user_id, name, credential_id, public_key, sign_count, aaguid, transports,
  backup_eligible, backed_up, created_at, last_used_at, blocked_at
FROM authn.passkey WHERE tenant_id = $1 AND id = $2 FOR UPDATE;

-- name: list_passkeys
-- A user's passkeys, oldest first.
SELECT
  id, user_id, name, credential_id, public_key, sign_count, aaguid, transports,
  backup_eligible, backed_up, created_at, last_used_at, blocked_at
FROM authn.passkey WHERE tenant_id = $1 AND user_id = $2 ORDER BY id;

-- name: note_use
-- Keep what a sign-in told.
UPDATE authn.passkey SET sign_count = $3, backed_up = $4, last_used_at = $5
WHERE tenant_id = $1 AND id = $2;

-- name: block_passkey
-- Its counter went back.
UPDATE authn.passkey SET blocked_at = $3
WHERE tenant_id = $1 AND id = $2 AND blocked_at IS NULL;

-- name: rename_passkey
-- Name a passkey of a user.
UPDATE authn.passkey SET name = $4 WHERE tenant_id = $1 AND id = $2 AND user_id = $3
RETURNING
  id, user_id, name, credential_id, public_key, sign_count, aaguid, transports,
  backup_eligible, backed_up, created_at, last_used_at, blocked_at;

-- name: delete_passkey
-- Forget a passkey of a user.
DELETE FROM authn.passkey WHERE tenant_id = $1 AND id = $2 AND user_id = $3;

-- name: delete_passkeys
-- Forget every passkey of a user.
DELETE FROM authn.passkey WHERE tenant_id = $1 AND user_id = $2 RETURNING id;

-- name: has_usable_passkey
-- Whether a user can sign in with a passkey.
SELECT EXISTS (
  SELECT FROM authn.passkey WHERE tenant_id = $1 AND user_id = $2 AND blocked_at IS NULL
);
