-- name: insert_link
-- Keep a link.
INSERT INTO authn.magic_link (
  tenant_id, id, user_id, purpose, digest, browser_digest, ip, user_agent, created_at, expires_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- name: find_link
-- The link of a secret.
SELECT id, user_id, purpose, browser_digest, ip, user_agent, created_at, expires_at, used_at
FROM authn.magic_link WHERE tenant_id = $1 AND digest = $2;

-- name: use_link
-- Use a link: of any number at once, one finds it unused.
UPDATE authn.magic_link AS l SET used_at = $3
FROM directory.user_account AS u
WHERE l.tenant_id = $1 AND l.digest = $2 AND l.used_at IS NULL AND l.expires_at > $3
  AND u.tenant_id = l.tenant_id AND u.user_id = l.user_id AND u.state = 'ACTIVE'
RETURNING l.id;

-- name: retire_links
-- A person who got in, or has a passkey now, needs none of the other links that were sent.
UPDATE authn.magic_link SET used_at = $3
WHERE tenant_id = $1 AND user_id = $2 AND used_at IS NULL;

-- name: purge_links
-- Forget some links that ended before $2.
DELETE FROM authn.magic_link
WHERE tenant_id = $1 AND id IN (
  SELECT o.id FROM authn.magic_link AS o
  WHERE o.tenant_id = $1 AND o.expires_at < $2
  ORDER BY o.expires_at LIMIT 20
);
