-- name: find_newest_sequence
-- The sequence of the newest activation of a policy, and the digest of its statement.
SELECT sequence, sha256(statement) AS statement_digest
FROM authz.policy_activation
WHERE tenant_id = $1
ORDER BY sequence DESC
LIMIT 1;

-- name: find_published
-- One activation as it was published: its row, and the bundle that it names.
SELECT a.sequence, a.digest, a.kind, a.proposal_id, a.activated_by, a.reason, a.statement,
  a.created_at, b.envelope
FROM authz.policy_activation AS a
JOIN authz.policy_bundle AS b USING (tenant_id, digest)
WHERE a.tenant_id = $1 AND a.sequence = $2;

-- name: list_activations
-- A page of activations before $2, newest first.
SELECT a.sequence, a.digest, a.kind, a.proposal_id, a.activated_by, a.reason, a.created_at,
  b.policy_revision, b.git_commit
FROM authz.policy_activation AS a
JOIN authz.policy_bundle AS b USING (tenant_id, digest)
WHERE a.tenant_id = $1 AND ($2::bigint IS NULL OR a.sequence < $2)
ORDER BY a.sequence DESC
LIMIT $3;

-- name: insert_bundle
-- Keep a signed bundle; returns nothing when it is kept already, perhaps as another signed it.
INSERT INTO authz.policy_bundle
  (tenant_id, digest, envelope, policy_revision, git_commit, committed_at, created_by, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT ON CONSTRAINT policy_bundle_pkey DO NOTHING
RETURNING digest;

-- name: lock_bundle
-- A kept bundle, until the transaction's end nobody else's to sign.
SELECT envelope FROM authz.policy_bundle WHERE tenant_id = $1 AND digest = $2 FOR UPDATE;

-- name: sign_bundle
-- Keep a bundle with one more signature.
UPDATE authz.policy_bundle SET envelope = $3 WHERE tenant_id = $1 AND digest = $2;

-- name: insert_activation
-- Put a bundle in force; of two at once, the primary key refuses one.
INSERT INTO authz.policy_activation
  (tenant_id, sequence, digest, kind, proposal_id, activated_by, reason, statement, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: find_bundle
-- A signed bundle.
SELECT envelope FROM authz.policy_bundle WHERE tenant_id = $1 AND digest = $2;

-- name: insert_proposal
-- Propose a bundle.
INSERT INTO authz.policy_proposal
  (tenant_id, id, digest, base_digest, diff_digest, changes, change_count, approvals_needed,
   title, description, author, created_at, request_id, makers, unknown_makers, signed_in)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16::text::jsonb);

-- name: find_proposal
-- One proposal, by its id or by the idempotency key with which it was made.
SELECT p.id, p.digest, p.base_digest, p.diff_digest, p.changes, p.change_count,
  p.approvals_needed, p.title, p.description, p.author, p.state, p.rejection, p.created_at,
  p.shadow_until, p.request_id, p.makers, p.unknown_makers, p.signed_in::text AS signed_in,
  b.policy_revision, b.git_commit, base.policy_revision AS base_revision,
  base.git_commit AS base_commit
FROM authz.policy_proposal AS p
JOIN authz.policy_bundle AS b ON b.tenant_id = p.tenant_id AND b.digest = p.digest
JOIN authz.policy_bundle AS base
  ON base.tenant_id = p.tenant_id AND base.digest = p.base_digest
WHERE p.tenant_id = $1
  AND ($2::uuid IS NULL OR p.id = $2)
  AND ($3::uuid IS NULL OR p.request_id = $3);

-- name: list_proposals
-- A page of proposals before $2, newest first, in state $3 ('' for all); APPROVED is OPEN with enough
-- approvals of the present diff. Their changes are left out.
SELECT p.id, p.digest, p.base_digest, p.diff_digest, '[]' AS changes, p.change_count,
  p.approvals_needed, p.title, p.description, p.author, p.state, p.rejection, p.created_at,
  p.shadow_until, p.request_id, p.makers, p.unknown_makers, p.signed_in::text AS signed_in,
  b.policy_revision, b.git_commit, base.policy_revision AS base_revision,
  base.git_commit AS base_commit
FROM authz.policy_proposal AS p
JOIN authz.policy_bundle AS b ON b.tenant_id = p.tenant_id AND b.digest = p.digest
JOIN authz.policy_bundle AS base
  ON base.tenant_id = p.tenant_id AND base.digest = p.base_digest
CROSS JOIN LATERAL (
  SELECT CASE WHEN p.state = 'OPEN' AND p.approvals_needed <= (
    SELECT count(*) FROM authz.policy_approval AS v
    WHERE v.tenant_id = p.tenant_id AND v.proposal_id = p.id
      AND v.diff_digest = p.diff_digest AND v.bundle_digest = p.digest
      AND v.approver <> ALL (p.makers || p.author)
  ) THEN 'APPROVED' ELSE p.state END AS reached
) AS stand
WHERE p.tenant_id = $1 AND ($2::uuid IS NULL OR p.id < $2)
  AND ($3 = '' OR stand.reached = $3)
ORDER BY p.id DESC
LIMIT $4;

-- name: find_people
-- Whose addresses these are; addresses in lower case.
SELECT address, subject FROM directory.people_of($1, $2::text[]);

-- name: lock_proposal
-- Let nobody else change the proposal until the transaction ends.
SELECT state FROM authz.policy_proposal WHERE tenant_id = $1 AND id = $2 FOR UPDATE;

-- name: update_proposal_diff
-- The policy in force changed: keep what the proposal would change now.
UPDATE authz.policy_proposal
SET base_digest = $3, diff_digest = $4, changes = $5, change_count = $6, approvals_needed = $7
WHERE tenant_id = $1 AND id = $2 AND state = 'OPEN';

-- name: close_proposal
-- End a proposal that is open.
UPDATE authz.policy_proposal SET state = $3, rejection = $4, shadow_until = NULL
WHERE tenant_id = $1 AND id = $2 AND state = 'OPEN';

-- name: insert_approval
-- Keep one approver's signed approval of one diff; the same one again changes nothing, one by
-- another proof takes its place.
INSERT INTO authz.policy_approval AS given
  (tenant_id, proposal_id, approver, bundle_digest, diff_digest, comment, statement, created_at,
   signed_in, asker_may_grant)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb, $10)
ON CONFLICT ON CONSTRAINT policy_approval_pkey DO UPDATE
SET comment = EXCLUDED.comment, statement = EXCLUDED.statement,
  created_at = EXCLUDED.created_at, signed_in = EXCLUDED.signed_in,
  asker_may_grant = EXCLUDED.asker_may_grant
WHERE given.signed_in IS DISTINCT FROM EXCLUDED.signed_in;

-- name: list_proposal_approvals
-- The approvals of some proposals, oldest first.
SELECT proposal_id, approver, bundle_digest, diff_digest, comment, statement, created_at,
  signed_in::text AS signed_in, asker_may_grant
FROM authz.policy_approval
WHERE tenant_id = $1 AND proposal_id = ANY($2::uuid[])
ORDER BY created_at, approver;

-- name: list_tenants_after
-- A page of all active tenants after $1; the platform tenant may read them.
SELECT tenant_id, slug FROM directory.tenant
WHERE state = 'ACTIVE' AND ($1::uuid IS NULL OR tenant_id > $1)
  AND ($2::uuid IS NULL OR tenant_id = $2)
ORDER BY tenant_id
LIMIT $3;
