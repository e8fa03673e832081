-- name: lock_requester
-- One request of a requester at a time, so that none is doubled and the open ones can be counted.
SELECT pg_advisory_xact_lock(hashtextextended($1::text || ' asks for approval ' || $2::text, 0));

-- name: count_open_approvals
-- How many requests of a requester are open at $3.
SELECT count(*) FROM authz.approval
WHERE tenant_id = $1 AND requester = $2 AND state IN ('PENDING', 'GRANTED') AND expires_at > $3;

-- name: find_open_approvals
-- Open requests of the same requester for the same action at $8, newest first.
SELECT a.id, a.org_id, coalesce(o.slug, '') AS org_slug, a.subject, a.action, a.resource,
  a.request_digest, a.requester, a.reason, a.requirements, a.policy_revision, a.state,
  a.created_at, a.expires_at
FROM authz.approval AS a
LEFT JOIN directory.org AS o USING (tenant_id, org_id)
WHERE a.tenant_id = $1 AND a.requester = $2 AND a.subject = $3 AND a.action = $4
  AND a.resource = $5 AND a.request_digest = $6 AND a.org_id IS NOT DISTINCT FROM $7
  AND a.state IN ('PENDING', 'GRANTED') AND a.expires_at > $8
ORDER BY a.id DESC;

-- name: find_approval_by_request
-- The request that an earlier call with this idempotency key made.
SELECT a.id, a.org_id, coalesce(o.slug, '') AS org_slug, a.subject, a.action, a.resource,
  a.request_digest, a.requester, a.reason, a.requirements, a.policy_revision, a.state,
  a.created_at, a.expires_at
FROM authz.approval AS a
LEFT JOIN directory.org AS o USING (tenant_id, org_id)
WHERE a.tenant_id = $1 AND a.request_id = $2;

-- name: find_approval
-- One request; with an org ($3) only one that was made in that org.
SELECT a.id, a.org_id, coalesce(o.slug, '') AS org_slug, a.subject, a.action, a.resource,
  a.request_digest, a.requester, a.reason, a.requirements, a.policy_revision, a.state,
  a.created_at, a.expires_at
FROM authz.approval AS a
LEFT JOIN directory.org AS o USING (tenant_id, org_id)
WHERE a.tenant_id = $1 AND a.id = $2 AND ($3::uuid IS NULL OR a.org_id = $3);

-- name: lock_approval
-- Let nobody else vote on, use or end a request until the transaction ends.
SELECT state FROM authz.approval WHERE tenant_id = $1 AND id = $2 FOR UPDATE;

-- name: list_approvals
-- A page of requests before $5, newest first. $3 is an org or null for all, $4 a state at $6 or '' for
-- all, $7 a subject or '', $8 whose own they must be (as requester or subject) or '' for anybody's.
SELECT a.id, a.org_id, coalesce(o.slug, '') AS org_slug, a.subject, a.action, a.resource,
  a.request_digest, a.requester, a.reason, a.requirements, a.policy_revision, a.state,
  a.created_at, a.expires_at
FROM authz.approval AS a
LEFT JOIN directory.org AS o USING (tenant_id, org_id)
WHERE a.tenant_id = $1
  AND ($3::uuid IS NULL OR a.org_id = $3)
  AND ($4 = '' OR $4 = CASE
    WHEN a.state IN ('PENDING', 'GRANTED') AND a.expires_at <= $6 THEN 'EXPIRED' ELSE a.state
  END)
  AND ($5::uuid IS NULL OR a.id < $5)
  AND ($7 = '' OR a.subject = $7)
  AND ($8 = '' OR a.subject = $8 OR a.requester = $8)
ORDER BY a.id DESC
LIMIT $2;

-- name: list_votes
-- The votes on some requests, oldest first.
SELECT approval_id, approver, approved, comment, created_at, asker_may_grant
FROM authz.approval_vote
WHERE tenant_id = $1 AND approval_id = ANY($2::uuid[])
ORDER BY created_at, approver;

-- name: insert_approval
-- Keep a request.
INSERT INTO authz.approval
  (tenant_id, id, org_id, subject, action, resource, request_digest, context, requester, reason,
   requirements, policy_revision, created_at, expires_at, request_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15);

-- name: insert_vote
-- Keep a vote; a second one of the same person is a violated constraint.
INSERT INTO authz.approval_vote
  (tenant_id, approval_id, approver, approved, comment, created_at, asker_may_grant)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: set_approval_state
-- Grant, reject or cancel a request that stands in one of the states $4.
UPDATE authz.approval SET state = $3
WHERE tenant_id = $1 AND id = $2 AND state = ANY($4::text[]);

-- name: redeem_approval
-- Use a granted request: of any number of attempts at once, one gets the row.
UPDATE authz.approval SET state = 'REDEEMED', redeemed_at = $3
WHERE tenant_id = $1 AND id = $2 AND state = 'GRANTED' AND expires_at > $3
  AND subject = $4 AND action = $5 AND resource = $6 AND request_digest = $7
  AND org_id IS NOT DISTINCT FROM $8
RETURNING id;
