-- name: insert_notice
-- Tell a person what happened.
INSERT INTO authn.security_notice (
  tenant_id, id, user_id, kind, name, ip, user_agent, session_id, created_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: prune_notices
-- Forget a person's notices that are too old, and of each kind all but the newest: one kind, which
-- somebody may provoke as often as they like, never pushes another one out.
DELETE FROM authn.security_notice AS n
WHERE n.tenant_id = $1 AND n.user_id = $2 AND (
  n.created_at < $4
  OR (
    n.kind = $3 AND n.id IN (
      SELECT o.id FROM authn.security_notice AS o
      WHERE o.tenant_id = $1 AND o.user_id = $2 AND o.kind = $3
      ORDER BY o.id DESC OFFSET $5
    )
  )
);

-- name: note_made_session
-- The session that a notice tells of, once it is made.
UPDATE authn.security_notice SET made_session_id = $3 WHERE tenant_id = $1 AND id = $2;

-- name: list_notices
-- A person's notices, newest first.
SELECT id, kind, name, ip, user_agent, session_id, made_session_id, created_at, seen_at,
  seen_since
FROM authn.security_notice
WHERE tenant_id = $1 AND user_id = $2 AND created_at >= $3
ORDER BY id DESC;

-- name: acknowledge_notices
-- Note that a person saw some of their notices, in another session than they came from, by a proof
-- from before them, and older than any that said so already.
UPDATE authn.security_notice SET seen_at = coalesce(seen_at, $5), seen_since = $6
WHERE tenant_id = $1 AND user_id = $2 AND id = ANY($3::uuid[])
  AND session_id <> $4 AND made_session_id <> $4
  AND (created_at > $6 OR kind = 'sign_in_reset')
  AND (seen_at IS NULL OR seen_since > $6)
RETURNING id;

-- name: find_last_reset
-- When a person's ways in were last taken away.
SELECT max(created_at) FROM authn.security_notice
WHERE tenant_id = $1 AND user_id = $2 AND kind = 'sign_in_reset';
