-- name: insert_device_code
-- Begin a device's request.
INSERT INTO authn.device_code (
  tenant_id, id, device_hash, user_hash, client_id, scope, ip, user_agent, created_at, expires_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- name: find_by_user_hash
-- The request that a person's code belongs to.
SELECT id, client_id, scope, ip, user_agent, state, user_id, session_id, acr, auth_time,
  interval_s, polled_at, created_at, expires_at
FROM authn.device_code
WHERE tenant_id = $1 AND user_hash = $2;

-- name: find_approver
-- Who approved the request that a device's code belongs to; null for nobody.
SELECT user_id FROM authn.device_code
WHERE tenant_id = $1 AND device_hash = $2 AND state = 'APPROVED';

-- name: lock_by_device_hash
-- The request that a device's code belongs to; nobody else polls or decides meanwhile.
SELECT id, client_id, scope, ip, user_agent, state, user_id, session_id, acr, auth_time,
  interval_s, polled_at, created_at, expires_at
FROM authn.device_code
WHERE tenant_id = $1 AND device_hash = $2
FOR UPDATE;

-- name: decide
-- Decide a request that nobody has decided, in one atomic write.
UPDATE authn.device_code
SET state = $3, user_id = $4, session_id = $5, acr = $6, auth_time = $7
WHERE tenant_id = $1 AND id = $2 AND state = 'PENDING' AND expires_at > $8
RETURNING id;

-- name: note_poll
-- When the device polled, and how long it must wait from then on.
UPDATE authn.device_code SET polled_at = $3, interval_s = $4
WHERE tenant_id = $1 AND id = $2;

-- name: redeem
-- Use an approved request, once, in one atomic write.
UPDATE authn.device_code SET state = 'REDEEMED', polled_at = $3
WHERE tenant_id = $1 AND id = $2 AND state = 'APPROVED' AND expires_at > $3
RETURNING id;

-- name: deny_of_user
-- Take back what a person approved.
UPDATE authn.device_code SET state = 'DENIED'
WHERE tenant_id = $1 AND user_id = $2 AND state = 'APPROVED';

-- name: purge
-- Forget some requests that ended long ago.
DELETE FROM authn.device_code AS d
USING (
  SELECT o.id FROM authn.device_code AS o
  WHERE o.tenant_id = $1 AND o.expires_at < $2
  ORDER BY o.expires_at
  LIMIT 100
) AS old
WHERE d.tenant_id = $1 AND d.id = old.id;
