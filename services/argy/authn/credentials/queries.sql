-- name: lock_subject
-- Changes to one subject's credentials come one after the other until the transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended($1::text || ' ' || $2::text, 0));

-- name: count_live
-- How many live credentials of a kind a subject has.
SELECT count(*) FROM authn.credential
WHERE tenant_id = $1 AND subject = $2 AND kind = $3 AND revoked_at IS NULL AND expires_at > $4;

-- name: insert_credential
-- Keep a new credential.
INSERT INTO authn.credential (
  tenant_id, id, kind, subject, user_id, name, prefix, scope, secret_hash, lifetime_days,
  created_by, created_at, expires_at, generation
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14);

-- name: find_credential
-- One credential by its id.
SELECT id, kind, subject, name, prefix, scope, lifetime_days, created_by, created_at, expires_at,
  last_used_at, revoked_at, generation
FROM authn.credential
WHERE tenant_id = $1 AND id = $2;

-- name: lock_credential
-- One credential by its id; nobody else changes it meanwhile.
SELECT id, kind, subject, name, prefix, scope, lifetime_days, created_by, created_at, expires_at,
  last_used_at, revoked_at, generation
FROM authn.credential
WHERE tenant_id = $1 AND id = $2
FOR UPDATE;

-- name: list_credentials
-- A subject's live credentials, newest first.
SELECT id, kind, subject, name, prefix, scope, lifetime_days, created_by, created_at, expires_at,
  last_used_at, revoked_at, generation
FROM authn.credential
WHERE tenant_id = $1 AND subject = $2 AND revoked_at IS NULL AND expires_at > $3
  AND ($4::uuid IS NULL OR id < $4)
ORDER BY id DESC
LIMIT $5;

-- name: list_keys_made_by
-- Live keys of agents and services that somebody made, newest first.
SELECT id, kind, subject, name, prefix, scope, lifetime_days, created_by, created_at, expires_at,
  last_used_at, revoked_at, generation
FROM authn.credential
WHERE tenant_id = $1 AND created_by = $2 AND kind <> 'TOKEN' AND revoked_at IS NULL
  AND expires_at > $3
ORDER BY id DESC
LIMIT 100;

-- name: find_by_secret
-- The live credential that is presented by its secret, also the one before the last rotation while
-- it overlaps; its owner, if a person, is active. A service key's secret is never presented.
SELECT c.id, c.kind, c.subject, c.name, c.prefix, c.scope, c.lifetime_days, c.created_by,
  c.created_at, c.expires_at, c.last_used_at, c.revoked_at, c.generation
FROM authn.credential AS c
LEFT JOIN directory.user_account AS u ON u.tenant_id = c.tenant_id AND u.user_id = c.user_id
WHERE c.tenant_id = $1 AND c.kind <> 'SERVICE'
  AND (c.secret_hash = $2 OR (c.previous_hash = $2 AND c.previous_expires_at > $3))
  AND c.revoked_at IS NULL AND c.expires_at > $3
  AND (c.user_id IS NULL OR u.state = 'ACTIVE');

-- name: find_service_secret
-- The scopes of a live service key by the digest of a secret that was handed out for it, and until
-- when this secret is good: the one before the last rotation while it overlaps.
SELECT scope,
  CASE WHEN secret_hash = $3 THEN expires_at ELSE previous_expires_at END AS good_until
FROM authn.credential
WHERE tenant_id = $1 AND id = $2 AND kind = 'SERVICE' AND revoked_at IS NULL AND expires_at > $4
  AND (secret_hash = $3 OR (previous_hash = $3 AND previous_expires_at > $4));

-- name: rotate
-- Give a live credential a new secret; the one so far is good until the overlap ends.
UPDATE authn.credential
SET prefix = $3, secret_hash = $4, expires_at = $5,
  previous_hash = CASE WHEN $6::timestamptz IS NULL THEN NULL ELSE secret_hash END,
  previous_expires_at = $6, generation = $8
WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL AND expires_at > $7
RETURNING id;

-- name: revoke
-- End a credential that is not revoked yet.
UPDATE authn.credential SET revoked_at = $3
WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL
RETURNING id;

-- name: revoke_of_user
-- End the personal access tokens of a person.
UPDATE authn.credential SET revoked_at = $3
WHERE tenant_id = $1 AND user_id = $2 AND revoked_at IS NULL AND expires_at > $3
RETURNING id;

-- name: note_used
-- When some credentials were last used, to the minute.
UPDATE authn.credential AS c
SET last_used_at = greatest(c.last_used_at, used.at)
FROM unnest($2::uuid[], $3::timestamptz[]) AS used (id, at)
WHERE c.tenant_id = $1 AND c.id = used.id;

-- name: list_key_ends
-- Service keys that ended and that servers may not know of; the first to go come first.
SELECT key_tenant_id, key_id, generation, ended_at FROM authn.key_end
WHERE tenant_id = $1 AND ended_at > $2
ORDER BY ended_at
LIMIT 100;

-- name: forget_key_end
-- This end is told; one that came since is not.
DELETE FROM authn.key_end
WHERE tenant_id = $1 AND key_tenant_id = $2 AND key_id = $3 AND generation = $4 AND ended_at = $5;
