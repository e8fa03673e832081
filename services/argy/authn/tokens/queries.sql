-- name: find_subject
-- Whether a person may still have tokens, and the revision of the tenant's roles.
SELECT u.state, coalesce(r.revision, 0) AS revision
FROM directory.user_account AS u
LEFT JOIN authz.tenant_revision AS r ON r.tenant_id = u.tenant_id
WHERE u.tenant_id = $1 AND u.user_id = $2;

-- name: insert_refresh_token
-- A refresh token that is good from now on.
INSERT INTO authn.refresh_token (
  tenant_id, id, family_id, digest, user_id, org_id, session_id, client_id, scope, acr, amr,
  auth_time, created_at, expires_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14);

-- name: use_refresh_token
-- The one write that trades a token: of any number at once a single one finds it unused.
UPDATE authn.refresh_token SET used_at = $4
WHERE tenant_id = $1 AND digest = $2 AND client_id = $3
  AND used_at IS NULL AND revoked_at IS NULL AND expires_at > $4
RETURNING id, family_id, user_id, org_id, session_id, client_id, scope, acr, amr, auth_time,
  created_at, expires_at, used_at, revoked_at;

-- name: find_refresh_token
-- A token, in whatever state.
SELECT id, family_id, user_id, org_id, session_id, client_id, scope, acr, amr, auth_time,
  created_at, expires_at, used_at, revoked_at
FROM authn.refresh_token WHERE tenant_id = $1 AND digest = $2;

-- name: revoke_family
-- End every token of a family that could still be traded.
UPDATE authn.refresh_token SET revoked_at = $3
WHERE tenant_id = $1 AND family_id = $2 AND revoked_at IS NULL;

-- name: revoke_session
-- End every token that came of a session.
UPDATE authn.refresh_token SET revoked_at = $3
WHERE tenant_id = $1 AND session_id = $2 AND revoked_at IS NULL;

-- name: live_sessions
-- The sessions of a person with a token that could still be traded.
SELECT DISTINCT session_id FROM authn.refresh_token
WHERE tenant_id = $1 AND user_id = $2 AND used_at IS NULL AND revoked_at IS NULL
  AND expires_at > $3;

-- name: revoke_user
-- End every token of a person.
UPDATE authn.refresh_token SET revoked_at = $3
WHERE tenant_id = $1 AND user_id = $2 AND revoked_at IS NULL;

-- name: forget_ended
-- Remove tokens of a person whose time is over: nobody could trade them anyway.
DELETE FROM authn.refresh_token WHERE tenant_id = $1 AND user_id = $2 AND expires_at < $3;

-- name: find_holder
-- Whose token this is, in whatever state.
SELECT user_id, org_id FROM authn.refresh_token WHERE tenant_id = $1 AND digest = $2;

-- name: hold_token_owners
-- Until the transaction ends nobody deletes the tenant, person and org (null for none) of a token;
-- before any row of theirs is locked.
SELECT authn.hold_token_owners($1, $2, $3);

-- name: lock_person
-- Until the transaction ends nobody disables this person, who may be issued tokens meanwhile; the
-- trigger that ends a person's tokens takes the same lock for itself (authn.end_person).
SELECT pg_advisory_xact_lock_shared(hashtextextended($1::uuid::text || ' user:' || $2::uuid::text, 0));

-- name: list_person_ends
-- People who were disabled or deleted and whose sessions may live on; the first to go come first.
SELECT person_tenant_id, person_id, ended_at FROM authn.person_end
WHERE tenant_id = $1 AND ended_at > $2
ORDER BY ended_at
LIMIT 100;

-- name: forget_person_end
-- This end is done; one that came since is not.
DELETE FROM authn.person_end
WHERE tenant_id = $1 AND person_tenant_id = $2 AND person_id = $3 AND ended_at = $4;
