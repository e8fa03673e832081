-- name: lock_signing_keys
-- One process at a time makes or rotates signing keys; the lock ends with the transaction.
SELECT pg_advisory_xact_lock(hashtext('argy.authn.signing_key'));

-- name: list_signing_keys
-- The keys that verify: the one that signs, and those that stopped after a moment; oldest first.
SELECT kid, public_jwk, sealed_private, created_at, retired_at
FROM authn.signing_key
WHERE tenant_id = $1 AND (retired_at IS NULL OR retired_at > $2)
ORDER BY created_at, retired_at NULLS LAST, kid;

-- name: retire_signing_keys
-- No key signs any more.
UPDATE authn.signing_key SET retired_at = $2 WHERE tenant_id = $1 AND retired_at IS NULL;

-- name: withdraw_signing_keys
-- No key of before signs or verifies any more.
DELETE FROM authn.signing_key WHERE tenant_id = $1 RETURNING kid;

-- name: insert_signing_key
-- The key that signs.
INSERT INTO authn.signing_key (tenant_id, kid, public_jwk, sealed_private, created_at)
VALUES ($1, $2, $3, $4, $5);

-- name: forget_signing_keys
-- Remove keys whose last token has ended.
DELETE FROM authn.signing_key WHERE tenant_id = $1 AND retired_at <= $2;

-- name: announce_signing_keys
-- Tell the replicas, at commit.
SELECT pg_notify('authn_signing_key', $1);

-- name: list_sealed_signing_keys
-- Every key that is kept, whether it verifies or not.
SELECT kid, sealed_private FROM authn.signing_key WHERE tenant_id = $1 ORDER BY kid;

-- name: rewrap_signing_key
-- Another wrapping of the same key, unless it was changed meanwhile.
UPDATE authn.signing_key SET sealed_private = $4
WHERE tenant_id = $1 AND kid = $2 AND sealed_private = $3;
